"""What the structures panel lists: rows made from a segmentation, without Qt or napari."""

from __future__ import annotations

import dataclasses

from colipri_core.segmentation import Segmentation
from colipri_core.segmentation import label_centers
from napari_colipri.geometry import LayerGrid


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


def structure_rows(segmentation: Segmentation, grid: LayerGrid) -> tuple[StructureRow, ...]:
    """Make rows of a segmentation; a look at every voxel, so do it on the worker.

    Args:
        segmentation: The outlined structures.
        grid: How the volume lies in its layer.
    """
    labels = [segment.label for segment in segmentation.segments]
    centers = label_centers(grid.to_layer(segmentation.labelmap), labels)
    volumes = segmentation.volume_ml_by_label()
    return tuple(
        StructureRow(
            label=segment.label,
            name=segment.name,
            code=segment.code,
            color=segment.color,
            volume_ml=volumes[segment.label],
            center=centers.get(segment.label),
        )
        for segment in segmentation.segments
    )
