"""The objects of a labelmap: what a labeller names, colours, locks and ticks off."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any
from typing import Self

from colipri_core.segmentation import Segment

MAX_LABEL = 65_535
"""Largest label: what a uint16 labelmap can hold."""

COLORS: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Colours of new objects, in turn: those of Okabe and Ito, which colour-blind readers can tell apart
(https://jfly.uni-koeln.de/color), without their black."""


_LONGEST_NAME = 60
"""Characters of the words that an object is named after."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelObject:
    """One object of the labelmap that is being edited.

    Args:
        label: Its value in the labelmap.
        name: Name shown to people.
        code: Code with its scheme, such as "SCT:45653009"; empty if none is given.
        color: Red, green, blue in 0..255.
        locked: Whether edits must leave its voxels as they are.
        done: Whether the labeller has ticked it off.

    Raises:
        TypeError: If the label is no whole number, or name or code are no text.
        ValueError: If the label, the name or the colour cannot be used.
    """

    label: int
    name: str
    code: str = ""
    color: tuple[int, int, int] = (255, 255, 255)
    locked: bool = False
    done: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", as_label(self.label))
        check_text(self.name, "name")
        check_text(self.code, "code")
        if not 1 <= self.label <= MAX_LABEL:
            msg = f"Expected a label from 1 to {MAX_LABEL}, got {self.label}."
            raise ValueError(msg)
        if not self.name.strip():
            msg = f"Expected a name for label {self.label}, got empty text."
            raise ValueError(msg)
        red, green, blue = (int(value) for value in self.color)
        if not all(0 <= value <= 255 for value in (red, green, blue)):
            msg = f"Expected red, green and blue from 0 to 255, got {self.color}."
            raise ValueError(msg)
        object.__setattr__(self, "name", self.name.strip())
        object.__setattr__(self, "color", (red, green, blue))

    @classmethod
    def new(cls, label: int, name: str = "") -> Self:
        """An object with the next colour, named after its label if it has no name yet."""
        return cls(label=label, name=name or f"Object {label}", color=COLORS[(label - 1) % len(COLORS)])

    @property
    def segment(self) -> Segment:
        """The object as a segment of a `Segmentation`."""
        return Segment(label=self.label, name=self.name, code=self.code, color=self.color)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**dataclasses.asdict(self), "color": list(self.color)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Make an object of what `to_json` returned."""
        return cls(**{**document, "color": tuple(document["color"])})


def name_from(words: str) -> str:
    """Return the words that an object is named after, no longer than panels and file names can show."""
    name = " ".join(words.split())
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def as_label(value: int) -> int:
    """Return a label as a plain int, whatever integer it came as: journals and logs are JSON, which knows no NumPy.

    Raises:
        TypeError: If it is no whole number.
    """
    try:
        return int(operator.index(value))
    except TypeError as error:
        msg = f"Expected a whole number as label, got {value!r}."
        raise TypeError(msg) from error


def check_text(value: object, what: str) -> None:
    """Refuse what is no text.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(value, str):
        msg = f"Expected text as {what} of an object, got {value!r}."
        raise TypeError(msg)
