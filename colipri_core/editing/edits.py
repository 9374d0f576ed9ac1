"""What can be done to a labelmap besides prompting: each edit is a value that an editor applies, here or remotely."""

from __future__ import annotations

import dataclasses
from typing import Literal
from typing import Self
from typing import get_args

from colipri_core.editing.canvas import count_labels
from colipri_core.editing.objects import as_label
from colipri_core.editing.objects import check_text
from colipri_core.prompts.crop import Crop
from colipri_core.segmentation import Segmentation
from colipri_core.vocabulary.structures import ENCLOSING

OverlapPolicy = Literal["keep", "replace"]
"""What happens where an edit meets another object: "keep" what is there, or "replace" it. Locked objects stay."""


def check_policy(policy: str) -> None:
    """Refuse an unknown policy.

    Raises:
        ValueError: If it is none of `OverlapPolicy`.
    """
    known = get_args(OverlapPolicy)
    if policy not in known:
        msg = f'Expected one of the policies {", ".join(known)}, got "{policy}".'
        raise ValueError(msg)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Paint:
    """Give voxels to an object, as a brush does.

    Args:
        voxels: The voxels.
        label: The object; 0 erases. An object that does not exist yet is made.
        policy: What happens to voxels of other objects; erasing always erases.

    Raises:
        TypeError: If the voxels are no `Crop`, or the label is no whole number.
        ValueError: If the policy is unknown.
    """

    voxels: Crop
    label: int
    policy: OverlapPolicy = "replace"

    def __post_init__(self) -> None:
        _check_kind(self.voxels, Crop, remedy="Use Crop.around(mask).")
        object.__setattr__(self, "label", as_label(self.label))
        check_policy(self.policy)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddObject:
    """Add an object without voxels.

    Args:
        name: Its name; empty for "Object N".
        code: Its code, such as "SCT:39607008".
        color: Its colour; None for the next of the palette.
        label: Its value in the labelmap; None for the lowest that is free.

    Raises:
        TypeError: If name or code are no text, or the label is no whole number.
    """

    name: str = ""
    code: str = ""
    color: tuple[int, int, int] | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        check_text(self.name, "name")
        check_text(self.code, "code")
        if self.label is not None:
            object.__setattr__(self, "label", as_label(self.label))


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

    Raises:
        TypeError: If the label is no whole number.
    """

    label: int
    name: str | None = None
    code: str | None = None
    color: tuple[int, int, int] | None = None
    locked: bool | None = None
    done: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", as_label(self.label))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResetObject:
    """Take all voxels and prompts from an object, which stays.

    Args:
        label: The object.

    Raises:
        TypeError: If the label is no whole number.
    """

    label: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", as_label(self.label))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoveObject:
    """Remove an object with its voxels and prompts.

    Args:
        label: The object.

    Raises:
        TypeError: If the label is no whole number.
    """

    label: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", as_label(self.label))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Adopt:
    """Take over the segments of a segmentation as objects.

    An object of the same name takes the voxels, each those of one segment; else the segment keeps its label if that is
    free, or gets another.

    Args:
        segmentation: On the volume's own grid.
        policy: What happens to voxels that belong to another object.

    Raises:
        TypeError: If it is no segmentation.
        ValueError: If the policy is unknown.
    """

    segmentation: Segmentation
    policy: OverlapPolicy = "keep"

    def __post_init__(self) -> None:
        _check_kind(self.segmentation, Segmentation, remedy="Give what Session.segment or read_labelmap returns.")
        check_policy(self.policy)

    @classmethod
    def structures(cls, found: Segmentation, *, policy: OverlapPolicy = "keep") -> Self:
        """Take over what can be edited of the structures a model outlined.

        Left out are those that enclose the others (`ENCLOSING`), as no object could be drawn within them without
        replacing them, and those of which no voxel was found.

        Args:
            found: What `Session.segment` returned.
            policy: What happens to voxels that belong to another object.
        """
        present = count_labels(found.labelmap)
        kept = [s for s in found.segments if s.label in present and s.name.casefold() not in ENCLOSING]
        return cls(segmentation=dataclasses.replace(found, segments=tuple(kept)), policy=policy)


Edit = Paint | AddObject | ChangeObject | ResetObject | RemoveObject | Adopt


def check_edit(edit: object) -> None:
    """Refuse what is no edit.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(edit, Edit):
        known = ", ".join(kind.__name__ for kind in get_args(Edit))
        msg = f"Expected one of the edits {known}, got {type(edit).__name__}."
        raise TypeError(msg)


def _check_kind(value: object, kind: type, *, remedy: str) -> None:
    if not isinstance(value, kind):
        msg = f"Expected a {kind.__name__}, got {type(value).__name__}. {remedy}"
        raise TypeError(msg)
