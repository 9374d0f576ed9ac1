"""Random editing for tests: scripts of edits drawn from a seed, and the state of an editor as one comparable value."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.errors import EmptyHistoryError
from colipri_core.errors import ObjectLockedError
from colipri_core.prompts import Crop
from colipri_core.prompts import Point
from colipri_core.provenance import ModelCard
from colipri_core.volume import Volume

MODEL = ModelCard(name="grower", sha256="0" * 64, kind="test", training_data="none", synthetic=True, licence="none")
_WEIGHTS = {"paint": 8, "prompt": 8, "undo": 6, "redo": 4, "change": 2, "add": 1, "reset": 1, "remove": 1}


def blank_volume(shape: tuple[int, int, int], *, name: str = "blank") -> Volume:
    """A volume of air with anisotropic spacing."""
    affine = np.array([[-0.7, 0, 0, 90.0], [0, -0.7, 0, 80.0], [0, 0, 1.5, -300.0], [0, 0, 0, 1.0]])
    return Volume(voxels=np.full(shape, -1000, dtype=np.int16), affine=affine, name=name)


def cube(lower: tuple[int, int, int], size: int = 4) -> Crop:
    """A cube of voxels."""
    return Crop(lower=lower, mask=np.ones((size, size, size), dtype=bool))


def paint(editor: LabelEditor, lower: tuple[int, int, int], label: int, **options: object) -> None:
    """Paint a cube."""
    editor.apply(Paint(voxels=cube(lower), label=label, **options))


def voxels(editor: LabelEditor, label: int) -> int:
    """Number of voxels of an object, counted in the labelmap."""
    return int((editor.labelmap == label).sum())


class RandomEditing:
    """Edits an editor at random; the same seed makes the same edits on an editor in the same state.

    Args:
        editor: The editor.
        seed: Seed of the choices.
        labels: Number of objects edited.
        size: Largest edge of a brush, in voxels.
    """

    def __init__(self, editor: LabelEditor, *, seed: int, labels: int = 5, size: int = 12) -> None:
        self.editor = editor
        self._rng = np.random.default_rng(seed)
        self._labels = labels
        self._size = size

    def step(self) -> str:
        """Make one edit, undo or redo; one that is refused changes nothing."""
        names = list(_WEIGHTS)
        weights = np.array([_WEIGHTS[name] for name in names], dtype=float)
        name = str(self._rng.choice(names, p=weights / weights.sum()))
        try:
            getattr(self, f"_{name}")()
        except (EmptyHistoryError, ObjectLockedError):
            return f"{name} refused"
        return name

    def _label(self) -> int:
        return int(self._rng.integers(1, self._labels + 1))

    def _known(self) -> int | None:
        known = [item.label for item in self.editor.state.objects]
        return int(self._rng.choice(known)) if known else None

    def _crop(self) -> Crop:
        shape = np.asarray(self.editor.volume.shape)
        lower = self._rng.integers(0, shape)
        upper = np.minimum(lower + self._rng.integers(1, self._size + 1, 3), shape)
        grids = np.meshgrid(*(np.linspace(-1, 1, size) for size in upper - lower), indexing="ij")
        mask = sum(grid**2 for grid in grids) <= self._rng.uniform(0.5, 3.0)
        return Crop.around(mask, lower=tuple(int(index) for index in lower))

    def _policy(self) -> Any:
        return self._rng.choice(["keep", "replace"])

    def _paint(self) -> None:
        label = 0 if self._rng.random() < 0.2 else self._label()
        self.editor.apply(Paint(voxels=self._crop(), label=label, policy=self._policy()))

    def _prompt(self) -> None:
        ras = self.editor.volume.geometry.index_to_world(self._rng.integers(0, self.editor.volume.shape))
        prompt = Point(ras=tuple(ras), positive=bool(self._rng.random() < 0.7))
        asked = self.editor.ask(prompt, label=self._label(), policy=self._policy())
        proposal = _combined(asked.previous, self._crop(), add=prompt.positive)
        self.editor.answer(asked, proposal, model=MODEL)

    def _undo(self) -> None:
        self.editor.undo()

    def _redo(self) -> None:
        self.editor.redo()

    def _add(self) -> None:
        self.editor.apply(AddObject(name=f"thing {self._rng.integers(1000)}"))

    def _change(self) -> None:
        label = self._known()
        if label is not None:
            locked = bool(self._rng.random() < 0.3)
            self.editor.apply(ChangeObject(label=label, name=f"name {self._rng.integers(1000)}", locked=locked))

    def _reset(self) -> None:
        label = self._known()
        if label is not None:
            self.editor.apply(ResetObject(label=label))

    def _remove(self) -> None:
        label = self._known()
        if label is not None:
            self.editor.apply(RemoveObject(label=label))


def _combined(mask: Crop, change: Crop, *, add: bool) -> Crop:
    """A mask with another added to it, or taken from it."""
    if mask.is_empty:
        return change
    lower = tuple(int(index) for index in np.minimum(mask.lower, change.lower))
    upper = tuple(int(index) for index in np.maximum(mask.upper, change.upper))
    before, changed = mask.on_box(lower, upper), change.on_box(lower, upper)
    return Crop.around(before | changed if add else before & ~changed, lower=lower)


def fingerprint(editor: LabelEditor) -> str:
    """A hash of everything an editor holds: labels, objects, prompts, history."""
    state = dataclasses.replace(editor.state, recovered=0, damaged="")
    digest = hashlib.sha256(repr(state).encode())
    digest.update(editor.labelmap.astype(np.uint16).tobytes())
    return digest.hexdigest()
