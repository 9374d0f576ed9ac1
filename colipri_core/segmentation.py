"""Labelmaps with named, coded and coloured segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import VolumeGeometry
from colipri_core.provenance import Provenance


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """One class of a labelmap.

    Args:
        label: Its value in the labelmap, 1 or more.
        name: Name shown to people, such as "Left upper lung lobe".
        code: Code with its scheme, such as "SCT:45653009"; empty if none fits.
        color: Red, green, blue in 0..255.
    """

    label: int
    name: str
    code: str = ""
    color: tuple[int, int, int] = (255, 255, 255)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"label": self.label, "name": self.name, "code": self.code, "color": list(self.color)}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """A labelmap on the source volume's own grid.

    Args:
        labelmap: uint8 or uint16 array `[i, j, k]`; 0 is background.
        geometry: The grid.
        segments: The classes; their labels are unique.
        provenance: What produced it; None for a segmentation read from a file.
        uncertainty: Of the model that made it, in [0, 1]: the share of wrong voxels it expects among those it takes for
            a structure, judged by its own probabilities; None if nobody said.

    Raises:
        ValueError: If the labelmap does not fit the grid, two segments share a label, or the uncertainty is not in
            [0, 1].
    """

    labelmap: npt.NDArray[np.unsignedinteger[Any]]
    geometry: VolumeGeometry
    segments: tuple[Segment, ...]
    provenance: Provenance | None = None
    uncertainty: float | None = None

    def __post_init__(self) -> None:
        if self.labelmap.shape != self.geometry.shape:
            msg = f"The labelmap has shape {self.labelmap.shape}, its grid {self.geometry.shape}; they must agree."
            raise ValueError(msg)
        labels = [segment.label for segment in self.segments]
        if len(set(labels)) != len(labels) or min(labels, default=1) < 1:
            msg = f"Segment labels must be unique and positive, got {labels}."
            raise ValueError(msg)
        if self.uncertainty is not None and not 0 <= self.uncertainty <= 1:
            msg = f"The uncertainty must lie in [0, 1], got {self.uncertainty}."
            raise ValueError(msg)

    def segment(self, name: str) -> Segment:
        """Return the segment of this name (case does not matter).

        Raises:
            KeyError: If there is none; the message lists those there are.
        """
        for segment in self.segments:
            if segment.name.lower() == name.lower():
                return segment
        msg = f'No segment "{name}". Available: {", ".join(segment.name for segment in self.segments)}.'
        raise KeyError(msg)

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each segment in mL."""
        counts = np.bincount(self.labelmap.ravel(), minlength=256)
        unit = self.geometry.voxel_volume_ml
        return {
            segment.name: float(counts[segment.label]) * unit if segment.label < len(counts) else 0.0
            for segment in self.segments
        }

    def to_json(self) -> dict[str, Any]:
        """Return segments and volumes as plain values, without the voxels."""
        volumes = self.volumes_ml()
        segments = [{**segment.to_json(), "volume_ml": round(volumes[segment.name], 3)} for segment in self.segments]
        doubt = {} if self.uncertainty is None else {"uncertainty": round(self.uncertainty, 4)}
        return {
            "segments": segments,
            **doubt,
            "model": self.provenance.model.to_json() if self.provenance else None,
            "provenance": self.provenance.to_json() if self.provenance else None,
        }


def label_centers(
    labelmap: npt.NDArray[np.generic], labels: Sequence[int], *, axis: int = 0
) -> dict[int, tuple[int, int, int]]:
    """Find a voxel in the midst of each label: nearest to the centroid of its largest slice along an axis.

    A centroid of the whole may lie outside a bent structure; this voxel never does.

    Args:
        labelmap: Integer array.
        labels: Values to find.
        axis: Along which slices are cut.

    Returns:
        Label -> index in the array; labels without voxels are missing.
    """
    size = max(labels, default=0) + 1
    planes = np.moveaxis(labelmap, axis, 0)
    areas = np.stack([np.bincount(plane.ravel(), minlength=size)[:size] for plane in planes])
    centers = {}
    for label in labels:
        plane = int(np.argmax(areas[:, label]))
        if areas[plane, label]:
            points = np.argwhere(planes[plane] == label)
            nearest = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
            i, j, k = (int(value) for value in np.insert(nearest, axis, plane))
            centers[label] = (i, j, k)
    return centers
