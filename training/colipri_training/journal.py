"""Journal: the log of a run as JSON lines, for TensorBoard if wanted, and as one live line of progress."""

from __future__ import annotations

import collections
import datetime
import json
import logging
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from colipri_core.errors import MissingDependencyError
from colipri_core.io.atomic import atomic_file

logger = logging.getLogger(__name__)

_RECENT_STEPS = 20


class Journal:
    """What a run writes down after each step.

    Args:
        folder: Where `log.jsonl`, and a file for every stage before the first step, go, and TensorBoard's files under
            `tensorboard/`.
        steps: Steps of the whole run; None if the clock ends it.
        volumes: Volumes of a step, over all processes.
        parts: Names of the losses to show in the line of progress.
        tensorboard: Whether to write for TensorBoard.

    Raises:
        MissingDependencyError: If TensorBoard is wanted and not installed.
    """

    def __init__(
        self, folder: Path, *, steps: int | None, volumes: int, parts: tuple[str, ...], tensorboard: bool = False
    ) -> None:
        self.path = folder / "log.jsonl"
        self._steps = steps
        self._volumes = volumes
        self._parts = parts
        self._recent: collections.deque[float] = collections.deque(maxlen=_RECENT_STEPS)
        self._open_board = _board(folder / "tensorboard") if tensorboard else None
        self._board: Any = None
        self._next = 1

    def rewind(self, step: int) -> None:
        """Forget the records after a step, and one that a killed process cut short: they will be written again."""
        self._next = step + 1
        if not self.path.is_file():
            return
        kept = [line for line in self.path.read_text().splitlines() if _step(line) <= step]
        with atomic_file(self.path, ".jsonl") as partial:
            partial.write_text("".join(line + "\n" for line in kept))

    def write(self, record: dict[str, Any], *, left_s: float | None = None) -> None:
        """Write down one step.

        Args:
            record: Plain numbers by name, `step`, `seconds` and `loss` among them.
            left_s: Seconds to the end of a run that the clock ends.
        """
        self._recent.append(record["seconds"])
        rate = self._volumes * len(self._recent) / max(sum(self._recent), 1e-9)
        record = {**record, "volumes_per_second": round(rate, 3), "memory_gib": round(memory_gib(), 3)}
        with self.path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        if self._open_board is not None:
            self._board = self._board or self._open_board(purge_step=self._next)
            for name, value in record.items():
                self._board.add_scalar(name, value, record["step"])
            self._board.flush()
        logger.info("%s", self._line(record, left_s))

    def write_stage(self, name: str, losses: list[float]) -> None:
        """Write down the losses of a stage before the first step, to a file of its own that it replaces."""
        with atomic_file(self.path.with_name(f"{name}.jsonl"), ".jsonl") as partial:
            lines = (json.dumps({"step": step, "loss": loss}) for step, loss in enumerate(losses, start=1))
            partial.write_text("".join(line + "\n" for line in lines))
        if self._open_board is not None:
            with self._open_board(name) as board:
                for step, loss in enumerate(losses, start=1):
                    board.add_scalar("loss", loss, step)
        if losses:
            logger.info("%s: %d steps, loss %.4f at first, %.4f at last", name, len(losses), losses[0], losses[-1])

    def _line(self, record: dict[str, Any], left_s: float | None) -> str:
        parts = " ".join(f"{name} {record[name]:.3f}" for name in self._parts if name in record)
        number = f"{record['step']}"
        if self._steps is not None:
            number += f"/{self._steps}"
            left_s = (self._steps - record["step"]) * sum(self._recent) / len(self._recent)
        left = "" if left_s is None else f"{datetime.timedelta(seconds=round(left_s))} left"
        return (
            f"step {number}  loss {record['loss']:.4f} ({parts})  "
            f"{record['volumes_per_second']:.2f} volumes/s  {record['memory_gib']:.1f} GiB  "
            f"{left}"
        )


def memory_gib() -> float:
    """Largest memory this process has had so far: of the GPU if it computes on one, else of the machine, in GiB."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return float("inf")


def _board(folder: Path) -> Callable[..., Any]:
    """What opens TensorBoard's writer in a folder, or in one below it; a step to write again from, if it was there."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        msg = (
            "Expected TensorBoard for compute.tensorboard, found none. Install it: pip install 'napari-colipri[train]'"
        )
        raise MissingDependencyError(msg) from error

    def open_board(below: str = "", purge_step: int | None = None) -> Any:
        return SummaryWriter(str(folder / below), purge_step=purge_step)

    return open_board
