"""Lines of the panels' lists, made from the core's results; plain values that are kept with the scene as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any
from typing import Self

import numpy as np

from colipri_core.findings import Findings
from colipri_core.segmentation import Segmentation

Place = tuple[float, float, float]

HIDDEN_AT_FIRST = frozenset({"body"})
"""Structures that enclose the others; showing them at once would only frame the picture (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingRow:
    """A line of the findings.

    Args:
        name: The finding, or the phrase that was asked for.
        code: Code with its scheme, empty for a phrase.
        probability: In [0, 1].
        calibrated: Whether the probability was calibrated.
        asked: Whether the user asked for it.
    """

    name: str
    code: str
    probability: float
    calibrated: bool
    asked: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make a row of what `to_json` returned."""
        return cls(**values)


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


def finding_rows(findings: Findings, *, asked: bool = False) -> tuple[FindingRow, ...]:
    """Make rows of findings.

    Args:
        findings: Result of a classification.
        asked: Whether the user asked for these phrases.
    """
    return tuple(
        FindingRow(
            name=finding.name,
            code=finding.code,
            probability=finding.probability,
            calibrated=finding.calibrated,
            asked=asked,
        )
        for finding in findings
    )


def merged(rows: Iterable[FindingRow], newer: Iterable[FindingRow]) -> tuple[FindingRow, ...]:
    """Sort rows by probability, highest first; a newer row replaces the one of the same name."""
    by_name = {row.name.casefold(): row for row in (*rows, *newer)}
    return tuple(sorted(by_name.values(), key=lambda row: (-row.probability, row.name)))


def structure_rows(segmentation: Segmentation) -> tuple[StructureRow, ...]:
    """Make rows of a segmentation; a look at every voxel, so do it on the worker.

    Args:
        segmentation: The outlined structures.
    """
    volumes = segmentation.volumes_ml()
    places = _places(segmentation)
    return tuple(
        StructureRow(
            label=segment.label,
            name=segment.name,
            code=segment.code,
            color=segment.color,
            volume_ml=volumes[segment.name],
            place=places.get(segment.label),
        )
        for segment in segmentation.segments
    )


def _places(segmentation: Segmentation) -> dict[int, Place]:
    """A voxel in the midst of each label: the one nearest to the centroid of its largest slice along the last axis.

    A centroid of the whole may lie outside a bent structure; this voxel never does.
    """
    labels = [segment.label for segment in segmentation.segments]
    size = max(labels, default=0) + 1
    planes = np.moveaxis(segmentation.labelmap, 2, 0)
    areas = np.stack([np.bincount(plane.ravel(), minlength=size)[:size] for plane in planes])
    found = {}
    for label in labels:
        k = int(np.argmax(areas[:, label]))
        if areas[k, label]:
            points = np.argwhere(planes[k] == label)
            i, j = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
            r, a, s = (float(value) for value in segmentation.geometry.index_to_world((i, j, k)))
            found[label] = (r, a, s)
    return found
