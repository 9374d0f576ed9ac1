"""Labelmaps with named, coded and coloured segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import VolumeGeometry
from colipri_core.provenance import ModelCard
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
        return {"label": int(self.label), "name": self.name, "code": self.code, "color": list(self.color)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Who drew a segment that was edited.

    Args:
        model: The last model that drew in it; None if none did.
        by_hand: Whether a person drew in it or erased from it.
    """

    model: ModelCard | None = None
    by_hand: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the model's name."""
        return {"model": self.model.name if self.model else None, "by_hand": self.by_hand}


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
        origins: Label -> who drew it, of a segmentation that was edited; None if all is as its provenance says.

    Raises:
        ValueError: If the labelmap does not fit the grid, two segments share a label, or the uncertainty is not in
            [0, 1].
    """

    labelmap: npt.NDArray[np.unsignedinteger[Any]]
    geometry: VolumeGeometry
    segments: tuple[Segment, ...]
    provenance: Provenance | None = None
    uncertainty: float | None = None
    origins: Mapping[int, Origin] | None = None

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

    def origin_of(self, label: int) -> Origin:
        """Who drew a segment: as `origins` says, else as the provenance of the whole does."""
        if self.origins is not None:
            return self.origins.get(label, Origin())
        return Origin(model=self.provenance.model if self.provenance else None)

    def volume_ml_by_label(self) -> dict[int, float]:
        """Label -> volume of its segment in mL; two segments may share a name, as several nodules do."""
        counts = np.bincount(self.labelmap.ravel(), minlength=256)
        unit = self.geometry.voxel_volume_ml
        labels = [segment.label for segment in self.segments]
        return {label: float(counts[label]) * unit if label < len(counts) else 0.0 for label in labels}

    def volumes_ml(self) -> dict[str, float]:
        """Name -> volume in mL, of all segments of that name together."""
        by_label = self.volume_ml_by_label()
        by_name = dict.fromkeys((segment.name for segment in self.segments), 0.0)
        for segment in self.segments:
            by_name[segment.name] += by_label[segment.label]
        return by_name

    def to_json(self) -> dict[str, Any]:
        """Return segments and volumes as plain values, without the voxels."""
        volumes = self.volume_ml_by_label()
        origins = {label: {"origin": origin.to_json()} for label, origin in (self.origins or {}).items()}
        segments = [
            {**item.to_json(), "volume_ml": round(volumes[item.label], 3), **origins.get(item.label, {})}
            for item in self.segments
        ]
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
