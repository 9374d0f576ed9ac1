"""What an edit, an undo or a redo tells its caller: which box to draw again, and how things stand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from colipri_core.editing.delta import Labels
from colipri_core.editing.objects import LabelObject
from colipri_core.prompts.crop import Index
from colipri_core.prompts.types import Prompt


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What changed in the labelmap.

    Args:
        label: The object that was edited; 0 if several were.
        action: What was done: "point", "paint", "remove" and so on; that which was undone, for an undo.
        lower: Voxel index of the first corner of the box to draw again.
        upper: Index just beyond its last corner; equal to `lower` if no voxel is to be drawn again.
        voxels_changed: Number of voxels whose label changed.
        labels: The labelmap's values in the box, after the change.
        objects_changed: Whether an object was added, changed or removed.
        voxels_kept: Number of voxels that an answer asked for and other objects kept, as the policy or a lock says.
    """

    label: int
    action: str
    lower: Index = (0, 0, 0)
    upper: Index = (0, 0, 0)
    voxels_changed: int = 0
    labels: Labels = dataclasses.field(default_factory=lambda: np.zeros((0, 0, 0), dtype=np.uint8), repr=False)
    objects_changed: bool = False
    voxels_kept: int = 0

    @property
    def bbox(self) -> tuple[Index, Index]:
        """The box to draw again, half open: `lower` and `upper`."""
        return self.lower, self.upper

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the labels."""
        return {
            "label": self.label,
            "action": self.action,
            "lower": list(self.lower),
            "upper": list(self.upper),
            "voxels_changed": self.voxels_changed,
            "objects_changed": self.objects_changed,
            "voxels_kept": self.voxels_kept,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditingState:
    """How an editor stands, as a front end shows it.

    Args:
        objects: The objects, by label.
        voxels: Label -> number of voxels.
        voxel_volume_ml: Volume of one voxel in mL.
        prompts: Label -> prompts of the object since it was last empty or reset.
        undo: Actions that can be undone, the next one first.
        redo: Actions that can be redone, the next one first.
        recovered: Number of edits taken over from an autosave when the editor was opened.
        damaged: Name of the file beside the autosave with edits that could not be taken over; empty if all were.
    """

    objects: tuple[LabelObject, ...]
    voxels: dict[int, int]
    voxel_volume_ml: float
    prompts: dict[int, tuple[Prompt, ...]]
    undo: tuple[str, ...]
    redo: tuple[str, ...]
    recovered: int
    damaged: str = ""

    def volumes_ml(self) -> dict[int, float]:
        """Label -> volume in mL."""
        return {label: count * self.voxel_volume_ml for label, count in self.voxels.items()}
