"""Checkpoints: the last two states of a run, each whole or not used.

A state is written to a file of its own, flushed, renamed into place and only then entered with its SHA-256 into
`index.json`, which is replaced atomically. A process that dies anywhere in between leaves the entries as they were,
so the state before is used. A file that was cut or changed later no longer has its hash: it is refused, with a
warning, and the one before it is used.
"""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from colipri_core.errors import ColipriError
from colipri_core.io.atomic import atomic_file
from colipri_core.io.atomic import write_json
from colipri_core.model.weights import file_sha256

logger = logging.getLogger(__name__)

_INDEX = "index.json"
_KEYS = {"file", "step", "sha256"}


class CheckpointError(ColipriError):
    """No checkpoint of the run can be used, or it belongs to another run."""

    exit_code = 3
    code = "bad-checkpoint"


def read_state(path: Path) -> dict[str, Any]:
    """Return a state that was saved in a file, on the CPU.

    Raises:
        CheckpointError: If the file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        msg = f"Expected a whole checkpoint in {path}, found a damaged one. Restore it, or remove it to begin anew."
        raise CheckpointError(msg) from error
    return state


def read_document(path: Path) -> dict[str, Any]:
    """Return the JSON object that stands in a file of a run.

    Raises:
        CheckpointError: If the file is damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(_damaged(path)) from error
    if not isinstance(document, dict):
        raise CheckpointError(_damaged(path))
    return document


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and set(entry) >= _KEYS


def _damaged(path: Path) -> str:
    return f"Expected a JSON object that colipri-train wrote in {path}, found something else. Restore it from a backup."


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they lie; nothing else may lie there.
        keep: How many stay.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    @property
    def exist(self) -> bool:
        """Whether there is a checkpoint, damaged or not."""
        return bool(self._entries())

    def save(self, state: dict[str, Any], step: int) -> None:
        """Write a state of tensors and plain values; the ones before stay whole until it is.

        Raises:
            OSError: If the disk is full or not writable; the checkpoints are as they were then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.pt"
        with atomic_file(path, ".partial") as partial:
            torch.save(state, partial)
            entry = {"file": path.name, "step": step, "sha256": file_sha256(partial)}
        others = [other for other in self._entries() if other["file"] != path.name]
        entries = [entry, *others][: self.keep]
        write_json(self.folder / _INDEX, {"checkpoints": entries})
        self._clear({_INDEX, *(kept["file"] for kept in entries)})

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that is whole, on the CPU, or None if the run has none.

        Raises:
            CheckpointError: If there are checkpoints, and every one is damaged.
        """
        entries = self._entries()
        for entry in entries:
            path = self.folder / entry["file"]
            if path.is_file() and file_sha256(path) == entry["sha256"]:
                return read_state(path)
            logger.warning("Checkpoint %s is damaged or missing; using the one before it.", entry["file"])
        if not entries:
            return None
        msg = (
            f"Expected a whole checkpoint in {self.folder}, found {len(entries)} damaged ones. "
            "Restore one of them from a backup, or start in an empty folder."
        )
        raise CheckpointError(msg)

    def _entries(self) -> list[dict[str, Any]]:
        index = self.folder / _INDEX
        if not index.is_file():
            return []
        entries = read_document(index).get("checkpoints")
        if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
            raise CheckpointError(_damaged(index))
        return entries

    def _clear(self, known: set[str]) -> None:
        """Remove older checkpoints and what a killed process left half-written."""
        for path in self.folder.iterdir():
            if path.name not in known:
                path.unlink()
