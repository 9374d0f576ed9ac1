"""What can be done to a labelmap besides prompting: each edit is a value that an editor applies, here or remotely."""

from __future__ import annotations

import dataclasses
from typing import Literal

from colipri_core.prompts.crop import Crop
from colipri_core.segmentation import Segmentation

OverlapPolicy = Literal["keep", "replace"]
"""What happens where an edit meets another object: "keep" what is there, or "replace" it. Locked objects stay."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Paint:
    """Give voxels to an object, as a brush does.

    Args:
        voxels: The voxels.
        label: The object; 0 erases. An object that does not exist yet is made.
        policy: What happens to voxels of other objects; erasing always erases.
    """

    voxels: Crop
    label: int
    policy: OverlapPolicy = "replace"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddObject:
    """Add an object without voxels.

    Args:
        name: Its name; empty for "Object N".
        code: Its code, such as "SCT:39607008".
        color: Its colour; None for the next of the palette.
        label: Its value in the labelmap; None for the lowest that is free.
    """

    name: str = ""
    code: str = ""
    color: tuple[int, int, int] | None = None
    label: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangeObject:
    """Rename, code, recolour, lock or tick off an object; what is None stays.

    Args:
        label: The object.
        name: Its new name.
        code: Its new code.
        color: Its new colour.
        locked: Whether edits must leave its voxels as they are.
        done: Whether it is finished.
    """

    label: int
    name: str | None = None
    code: str | None = None
    color: tuple[int, int, int] | None = None
    locked: bool | None = None
    done: bool | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResetObject:
    """Take all voxels and prompts from an object, which stays.

    Args:
        label: The object.
    """

    label: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoveObject:
    """Remove an object with its voxels and prompts.

    Args:
        label: The object.
    """

    label: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Adopt:
    """Take over the segments of a segmentation as objects.

    An object of the same name takes the voxels; else the segment keeps its label if that is free, or gets another.

    Args:
        segmentation: On the volume's own grid.
        policy: What happens to voxels that belong to another object.
    """

    segmentation: Segmentation
    policy: OverlapPolicy = "keep"


Edit = Paint | AddObject | ChangeObject | ResetObject | RemoveObject | Adopt
