"""Stage: a training of one process beside the pretraining, a pure function of the step, with its log and checkpoint."""

from __future__ import annotations

import json
import logging
import time
from abc import ABC
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn

from colipri_core.io.atomic import atomic_file
from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import read_state
from colipri_training.config import OptimizerConfig
from colipri_training.identity import differences
from colipri_training.optimizers import schedule

logger = logging.getLogger(__name__)


class Stage(ABC):
    """Steps of AdamW, a line of `NAME.jsonl` for each, and a checkpoint `NAME.pt` to go on from.

    Args:
        name: Of the stage and its files.
        config: The optimiser and its schedule.
        modules: What is trained, by name.
        rates: Peak learning rate of each.
        save_every: Steps between checkpoints.
        folder: Where the log and the checkpoint go; made if absent.

    Attributes:
        step: Steps done.
        identity: What the checkpoint must share to be gone on with, as plain values: filled before `resume`. Where it
            stays empty nothing is compared.
        _kept: What a checkpoint holds besides weights, optimiser and step.
    """

    def __init__(
        self,
        name: str,
        config: OptimizerConfig,
        modules: Mapping[str, nn.Module],
        rates: Mapping[str, float],
        *,
        save_every: int,
        folder: Path,
    ) -> None:
        self.folder = folder
        self.step = 0
        self.identity: dict[str, Any] = {}
        self._name = name
        self._schedule = config
        self._save_every = save_every
        self._modules = dict(modules)
        self._kept: dict[str, Any] = {}
        groups = [{"params": module.parameters(), "lr": rates[name]} for name, module in modules.items()]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        for group in self.optimizer.param_groups:
            group["peak"] = group["lr"]
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint lies."""
        return self.folder / f"{self._name}.pt"

    @property
    def steps(self) -> int:
        """Steps of the whole stage."""
        return self._schedule.steps

    @property
    def done(self) -> bool:
        """Whether all steps are."""
        return self.step >= self.steps

    def run(self) -> None:
        """Train until the last step, with checkpoints on the way."""
        while not self.done:
            started = time.perf_counter()
            record: dict[str, float] = {"loss": round(self._train_step(), 5)}
            self.step += 1
            saves = self.done or self.step % self._save_every == 0
            if saves:
                record |= self._judge()
            self._write({"step": self.step, **record, "seconds": round(time.perf_counter() - started, 3)})
            if saves:
                self.save()
        self._finish()

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {"step": self.step, "optimizer": self.optimizer.state_dict(), "kept": self._kept}
        state |= {"modules": self._weights(), "identity": json.dumps(self.identity)}
        with atomic_file(self.checkpoint, ".partial") as partial:
            torch.save(state, partial)

    def resume(self) -> bool:
        """Load the checkpoint if there is one, and say whether there was.

        Raises:
            CheckpointError: If it is damaged, or of another training: other settings, weights or cases.
        """
        if not self.checkpoint.is_file():
            return False
        state = read_state(self.checkpoint)
        self._refuse_another(state)
        self._take_weights(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self._kept = state["step"], state["kept"]
        if "identity" not in state:
            self.save()  # of an earlier version, which kept none: from now on it has this one
        if self.done:
            self._finish()
        return True

    @abstractmethod
    def _loss(self, step: int) -> Tensor:
        """Return the loss of a step, a scalar with its gradient."""

    def _judge(self) -> dict[str, float]:
        """Measure the state that is about to be saved."""
        return {}

    def _finish(self) -> None:
        """Leave the modules as they are to be used, after the last step."""
        for module in self._modules.values():
            module.eval()

    def _refuse_another(self, state: Mapping[str, Any]) -> None:
        told = differences(json.loads(state["identity"]), self.identity) if "identity" in state else ""
        if set(state["modules"]) != set(self._modules):
            told = f"it trained {', '.join(state['modules'])}, now {', '.join(self._modules)}"
        if told:
            msg = (
                f"Expected a checkpoint of this training in {self.checkpoint}, found one of another ({told}). "
                "Choose another --output, or remove that file to train anew."
            )
            raise CheckpointError(msg)

    def _weights(self) -> dict[str, Any]:
        return {name: module.state_dict() for name, module in self._modules.items()}

    def _take_weights(self, state: Mapping[str, Any]) -> None:
        for name, module in self._modules.items():
            module.load_state_dict(state[name])

    def _train_step(self) -> float:
        loss = self._loss(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self._schedule.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule(self.step, self._schedule) * group["peak"]
        self.optimizer.step()
        return float(loss.item())

    def _write(self, record: dict[str, float]) -> None:
        with (self.folder / f"{self._name}.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        logger.info("%s %s", self._name, " ".join(f"{name} {value:g}" for name, value in record.items()))
