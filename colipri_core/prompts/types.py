"""The kinds of prompt, as frozen values in RAS+ mm that go to JSON and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

from colipri_core.vocabulary.wordings import check_length

Position = tuple[float, float, float]
"""A place in the patient: R, A, S in mm."""

MOST_POSITIONS = 10_000
"""Positions of one stroke or curve (our choice): minutes of drawing, and drawn on a grid within seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One place that belongs to the object, or does not.

    Args:
        ras: RAS+ mm.
        positive: Whether it belongs to the object.
    """

    kind: ClassVar[str] = "point"
    ras: Position
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "ras", _position(self.ras))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return _to_json(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scribble:
    """A stroke through places that belong to the object, or do not.

    Args:
        ras: Positions along the stroke, RAS+ mm; one makes a dot.
        positive: Whether they belong to the object.
        radius_mm: Half the width of the stroke. The default is our choice.

    Raises:
        ValueError: If there is no position, or there are too many, or the radius is not positive.
    """

    kind: ClassVar[str] = "scribble"
    ras: tuple[Position, ...]
    positive: bool = True
    radius_mm: float = 1.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "ras", _positions(self.ras, at_least=1, kind=self.kind))
        if not (math.isfinite(self.radius_mm) and self.radius_mm > 0):
            msg = f"A scribble needs a radius above 0 mm, got {self.radius_mm}."
            raise ValueError(msg)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return _to_json(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
    """A box around the object, or around what is not the object; its edges run along the volume's voxel axes.

    Args:
        lower_ras: One corner, RAS+ mm.
        upper_ras: The opposite corner, RAS+ mm. Two corners in one slice make a flat box.
        positive: Whether the object lies inside.
    """

    kind: ClassVar[str] = "box"
    lower_ras: Position
    upper_ras: Position
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower_ras", _position(self.lower_ras))
        object.__setattr__(self, "upper_ras", _position(self.upper_ras))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return _to_json(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lasso:
    """A closed curve drawn in one plane; what it encloses there belongs to the object, or does not.

    Args:
        ras: Corners of the polygon, RAS+ mm, in one plane of any direction; the last is joined to the first.
        positive: Whether the inside belongs to the object.

    Raises:
        ValueError: If there are fewer than three corners, or too many.
    """

    kind: ClassVar[str] = "lasso"
    ras: tuple[Position, ...]
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "ras", _positions(self.ras, at_least=3, kind=self.kind))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return _to_json(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phrase:
    """Words for what the object is.

    Args:
        text: The words, as for `Session.evidence`.

    Raises:
        ValueError: If the text is empty or too long.
    """

    kind: ClassVar[str] = "phrase"
    text: str

    def __post_init__(self) -> None:
        check_length(self.text)
        text = " ".join(self.text.split())
        if not text:
            msg = "A phrase needs words, got empty text."
            raise ValueError(msg)
        object.__setattr__(self, "text", text)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return _to_json(self)


SpatialPrompt = Point | Scribble | Box | Lasso
Prompt = SpatialPrompt | Phrase

_KINDS: dict[str, type[Prompt]] = {kind.kind: kind for kind in (Point, Scribble, Box, Lasso, Phrase)}


def prompt_from_json(document: dict[str, Any]) -> Prompt:
    """Make a prompt of what `to_json` returned.

    Args:
        document: Plain values with the key "kind".

    Raises:
        ValueError: If the kind is unknown, or a key is missing, unknown or of a wrong value.
    """
    kind = _KINDS.get(str(document.get("kind")))
    if kind is None:
        msg = f'Expected a prompt of kind {", ".join(_KINDS)}, got "{document.get("kind")}".'
        raise ValueError(msg)
    values = {key: value for key, value in document.items() if key != "kind"}
    try:
        return kind(**values)
    except TypeError as error:
        names = ", ".join(field.name for field in dataclasses.fields(kind))
        msg = f"Expected the keys {names} of a {kind.kind}, got {', '.join(sorted(values)) or 'none'}."
        raise ValueError(msg) from error


def _to_json(prompt: Prompt) -> dict[str, Any]:
    return {"kind": prompt.kind, **dataclasses.asdict(prompt)}


def _position(values: Sequence[float]) -> Position:
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        msg = f"Expected a position of three finite numbers (R, A, S in mm), got {values!r}."
        raise ValueError(msg)
    r, a, s = (float(value) for value in values)
    return r, a, s


def _positions(values: Sequence[Sequence[float]], *, at_least: int, kind: str) -> tuple[Position, ...]:
    if len(values) < at_least:
        msg = f"A {kind} needs at least {at_least} position{'s' if at_least > 1 else ''}, got {len(values)}."
        raise ValueError(msg)
    if len(values) > MOST_POSITIONS:
        msg = f"A {kind} may have at most {MOST_POSITIONS} positions, got {len(values)}. Draw it in parts."
        raise ValueError(msg)
    return tuple(_position(value) for value in values)
