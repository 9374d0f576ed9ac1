"""Lines of the structures and of similar cases; plain values that are kept with the scene as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any
from typing import Self

from colipri_core.cases import Match
from colipri_core.segmentation import Segmentation
from colipri_core.segmentation import label_centers

Place = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureRow:
    """A line of the structures.

    Args:
        label: Value in the labelmap.
        name: Name shown to people.
        code: Code with its scheme, may be empty.
        color: Red, green, blue in 0..255.
        volume_ml: Volume in mL; 0 if it was not found.
        place: A voxel in its midst, RAS+ mm in the world; None if it was not found.
    """

    label: int
    name: str
    code: str
    color: tuple[int, int, int]
    volume_ml: float
    place: Place | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make a row of what `to_json` returned."""
        place = values["place"]
        return cls(**{**values, "color": tuple(values["color"]), "place": tuple(place) if place else None})


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchRow:
    """A line of the similar cases.

    Args:
        match: The stored case.
        shared: Its findings that the current scan has too.
        other: Its findings that the current scan does not have.
    """

    match: Match
    shared: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def details(self) -> tuple[str, ...]:
        """What is told of it, a line each."""
        place = self.match.place
        lines = [
            f"Cosine distance {self.match.distance:.4f}: ranks cases, is no probability",
            f"Shared with this scan: {', '.join(self.shared) or 'nothing known'}",
            f"Not seen here: {', '.join(self.other) or 'nothing'}",
        ]
        return (*lines, *([f"Nearest place: {place.name}"] if place is not None and place.name else []))


def structure_rows(segmentation: Segmentation) -> tuple[StructureRow, ...]:
    """Make rows of a segmentation; a look at every voxel, so do it on the worker.

    Args:
        segmentation: The outlined structures.
    """
    volumes = segmentation.volume_ml_by_label()
    labels = [segment.label for segment in segmentation.segments]
    places = label_centers(segmentation.labelmap, labels, axis=2)
    return tuple(
        StructureRow(
            label=segment.label,
            name=segment.name,
            code=segment.code,
            color=segment.color,
            volume_ml=volumes[segment.label],
            place=_place(segmentation, places.get(segment.label)),
        )
        for segment in segmentation.segments
    )


def _place(segmentation: Segmentation, index: tuple[int, int, int] | None) -> Place | None:
    if index is None:
        return None
    r, a, s = (float(value) for value in segmentation.geometry.index_to_world(index))
    return r, a, s
