"""What the panels list: rows made from the engine's results, without Qt or napari."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from colipri_core.findings import Findings
from colipri_core.segmentation import Segmentation
from napari_colipri.geometry import LayerGrid

HIDDEN_AT_FIRST = frozenset({"body"})
"""Structures that enclose the others; outlining them at once would only frame the picture (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingRow:
    """A line of the findings panel.

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureRow:
    """A line of the structures panel.

    Args:
        label: Value in the labelmap.
        name: Name shown to people.
        code: Code with its scheme, may be empty.
        color: Red, green, blue in 0..255.
        volume_ml: Volume in mL; 0 if it was not found.
        center: Layer index of a voxel in its midst, None if it was not found.
    """

    label: int
    name: str
    code: str
    color: tuple[int, int, int]
    volume_ml: float
    center: tuple[int, int, int] | None


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
    by_name = {row.name.casefold(): row for row in rows}
    by_name.update({row.name.casefold(): row for row in newer})
    return tuple(sorted(by_name.values(), key=lambda row: (-row.probability, row.name)))


def matches(text: str, query: str) -> bool:
    """Whether every word of the query occurs in the text (case does not matter)."""
    return all(word in text.casefold() for word in query.casefold().split())


def structure_rows(segmentation: Segmentation, grid: LayerGrid) -> tuple[StructureRow, ...]:
    """Make rows of a segmentation; a look at every voxel, so do it on the worker.

    Args:
        segmentation: The outlined structures.
        grid: How the volume lies in its layer.
    """
    labels = [segment.label for segment in segmentation.segments]
    centers = label_centers(grid.to_layer(segmentation.labelmap), labels)
    volumes = segmentation.volumes_ml()
    return tuple(
        StructureRow(
            label=segment.label,
            name=segment.name,
            code=segment.code,
            color=segment.color,
            volume_ml=volumes[segment.name],
            center=centers.get(segment.label),
        )
        for segment in segmentation.segments
    )


def label_centers(labelmap: npt.NDArray[np.generic], labels: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    """Find a voxel in the midst of each label: nearest to the centroid of its largest slice along the first axis.

    A centroid of the whole may lie outside a bent structure; this voxel never does.

    Args:
        labelmap: Integer array in layer order.
        labels: Values to find.

    Returns:
        Label -> layer index; labels without voxels are missing.
    """
    size = max(labels, default=0) + 1
    areas = np.stack([np.bincount(plane.ravel(), minlength=size)[:size] for plane in labelmap])
    centers = {}
    for label in labels:
        plane = int(np.argmax(areas[:, label]))
        if areas[plane, label]:
            points = np.argwhere(labelmap[plane] == label)
            nearest = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
            centers[label] = (plane, int(nearest[0]), int(nearest[1]))
    return centers
