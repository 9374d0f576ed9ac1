"""What napari's own brush, eraser, bucket and polygon did to a labels layer, as edits of the volume."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.editing.edits import Paint
from colipri_core.prompts.crop import Crop
from napari_colipri.geometry import Index
from napari_colipri.geometry import LayerGrid

_Region = tuple[int, Index, npt.NDArray[np.bool_]]
"""New label, layer index of the first corner, mask in layer order."""


def stroke_edits(atoms: Sequence[Any], grid: LayerGrid) -> tuple[Paint, ...]:
    """Turn one entry of a labels layer's `paint` event into edits, one for each label in turn.

    Args:
        atoms: What the event carries: boxes with a mask and a new label, or indices with new labels.
        grid: How the volume lies in the layer.
    """
    regions = [region for atom in atoms for region in _regions(atom, grid.layer_shape)]
    edits = []
    while regions:
        label = regions[0][0]
        same = next((n for n, region in enumerate(regions) if region[0] != label), len(regions))
        edits.append(Paint(voxels=_crop(regions[:same], grid), label=label))
        regions = regions[same:]
    return tuple(edits)


def _regions(atom: Any, shape: Index) -> Iterator[_Region]:
    if hasattr(atom, "slice_key"):
        box = [part.indices(size)[:2] for part, size in zip(atom.slice_key, shape, strict=True)]
        size = [stop - start for start, stop in box]
        mask = np.ones(size, dtype=bool) if atom.mask is None else np.asarray(atom.mask, dtype=bool).reshape(size)
        yield int(atom.new_value), (box[0][0], box[1][0], box[2][0]), mask
        return
    indices, _, values = atom
    places = np.stack([np.ravel(axis) for axis in np.broadcast_arrays(*indices)])
    labels = np.broadcast_to(np.ravel(values), places.shape[1:])
    for label in np.unique(labels):
        chosen = places[:, labels == label]
        start, stop = chosen.min(axis=1), chosen.max(axis=1) + 1
        mask = np.zeros(stop - start, dtype=bool)
        mask[tuple(chosen - start[:, None])] = True
        yield int(label), (int(start[0]), int(start[1]), int(start[2])), mask


def _crop(regions: Sequence[_Region], grid: LayerGrid) -> Crop:
    starts = np.array([start for _, start, _ in regions])
    stops = np.array([np.add(start, mask.shape) for _, start, mask in regions])
    low, high = starts.min(axis=0), stops.max(axis=0)
    whole = np.zeros(high - low, dtype=bool)
    for start, stop, (_, _, mask) in zip(starts - low, stops - low, regions, strict=True):
        whole[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] |= mask
    first, second, third = (int(index) for index in low)
    lower = grid.voxel_corner((first, second, third), whole.shape)
    return Crop(lower=lower, mask=np.ascontiguousarray(grid.to_volume(whole)))
