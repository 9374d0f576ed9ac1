"""The state an editor changes: labelmap, objects, prompts, who drew what, and the size and extent of each object."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from colipri_core.editing.delta import Labels
from colipri_core.editing.objects import LabelObject
from colipri_core.editing.step import ObjectChange
from colipri_core.editing.step import Step
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.crop import Index
from colipri_core.prompts.crop import Slices
from colipri_core.prompts.types import Prompt
from colipri_core.segmentation import Origin

_MAX_BYTE = 255
_SLAB_VOXELS = 2_000_000
_Corner = npt.NDArray[np.intp] | Index


class Canvas:
    """A labelmap with its objects and prompts; steps lead it forth and back.

    Args:
        shape: Shape of the volume's grid.
    """

    def __init__(self, shape: Index) -> None:
        self.labelmap: Labels = np.zeros(shape, dtype=np.uint8)
        self.objects: dict[int, LabelObject] = {}
        self.prompts: dict[int, list[Prompt]] = {}
        self.origins: Mapping[int, Origin] = {}
        self._former_origins: list[Mapping[int, Origin]] = []
        self._voxels: dict[int, int] = {}
        self._extents: dict[int, tuple[_Corner, _Corner]] = {}

    def do(self, step: Step) -> None:
        """Carry a step out."""
        self._set_objects(step.objects)
        self._former_origins.append(self.origins)
        self.origins = self._origins_after(step, *self._unfold(step))
        for label, _ in step.dropped:
            self.prompts.pop(label, None)
        if step.prompt is not None:
            self.prompts.setdefault(step.label, []).append(step.prompt)

    def undo(self, step: Step) -> None:
        """Take the last step back."""
        self._unfold(step)
        self.origins = self._former_origins.pop()
        if step.prompt is not None:
            self.prompts[step.label].pop()
        for label, prompts in step.dropped:
            self.prompts[label] = list(prompts)
        self._set_objects([change.reversed() for change in step.objects])

    def voxels(self, label: int) -> int:
        """Number of voxels of an object."""
        return self._voxels.get(label, 0)

    def crop(self, label: int) -> Crop:
        """The mask of an object."""
        box = self.extent(label)
        if box is None:
            return Crop.empty()
        i, j, k = box
        return Crop.around(self.labelmap[box] == label, lower=(i.start, j.start, k.start))

    def extent(self, label: int) -> Slices | None:
        """A box that holds all voxels of an object, if not the smallest; None if it has none."""
        if not self.voxels(label):
            return None
        i, j, k = (slice(int(a), int(b)) for a, b in zip(*self._extents[label], strict=True))
        return i, j, k

    def prompts_of(self, label: int) -> tuple[Prompt, ...]:
        """Prompts of an object since it was last empty or reset, oldest first."""
        return tuple(self.prompts.get(label, ()))

    def locked(self) -> list[int]:
        """Labels of the locked objects."""
        return [label for label, item in self.objects.items() if item.locked]

    def _set_objects(self, changes: Iterable[ObjectChange]) -> None:
        for change in changes:
            if change.before is not None:
                del self.objects[change.before.label]
            if change.after is not None:
                self.objects[change.after.label] = change.after
                if change.after.label > _MAX_BYTE and self.labelmap.dtype == np.uint8:
                    self.labelmap = self.labelmap.astype(np.uint16)

    def _unfold(self, step: Step) -> tuple[dict[int, int], dict[int, int]]:
        """Go to the other state of a step's box; returns the voxels of each label in it before and after."""
        if step.delta is None:
            return {}, {}
        before = self.labelmap[step.delta.box]
        after = step.delta.unfold(before)
        counts = count_labels(before), count_labels(after)
        for label, count in counts[0].items():
            self._voxels[label] -= count
            if not self._voxels[label]:
                del self._voxels[label], self._extents[label]
        for label, count in counts[1].items():
            self._voxels[label] = self._voxels.get(label, 0) + count
            self._widen(label, step.delta.lower, step.delta.upper)
        self.labelmap[step.delta.box] = after
        return counts

    def _origins_after(self, step: Step, before: dict[int, int], after: dict[int, int]) -> Mapping[int, Origin]:
        """Who drew each object, once a step has changed the voxels of some."""
        changed = [label for label in {**before, **after} if before.get(label) != after.get(label)]
        if not changed:
            return self.origins
        origins = dict(self.origins)
        for label in changed:
            former = origins.pop(label, Origin())
            if not self.voxels(label):
                continue
            if step.model is None:
                origins[label] = dataclasses.replace(former, by_hand=True)
            elif label == step.label or after.get(label, 0) > before.get(label, 0):
                origins[label] = dataclasses.replace(former, model=step.model)
            else:  # it lost voxels to what the model drew
                origins[label] = former
        return origins

    def _widen(self, label: int, lower: Index, upper: Index) -> None:
        low, high = self._extents.get(label, (lower, upper))
        self._extents[label] = (np.minimum(low, lower), np.maximum(high, upper))


def count_labels(labels: Labels) -> dict[int, int]:
    """Number of voxels of each label but 0, counted slab by slab: counting makes 8 bytes of every voxel.

    Args:
        labels: Labels `[i, j, k]`.
    """
    thickness = max(1, _SLAB_VOXELS * len(labels) // max(1, labels.size))
    counts = np.zeros(0, dtype=np.int64)
    for start in range(0, len(labels), thickness):
        slab = np.bincount(labels[start : start + thickness].ravel(order="K"), minlength=len(counts))
        slab[: len(counts)] += counts
        counts = slab
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts) if label}
