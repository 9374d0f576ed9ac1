"""What a model's phrase head outlines of a phrase, on the volume's own grid.

Probabilities of the model grid are interpolated part by part, as structures are, so that a small lesion costs little
and an outline does not follow the steps of the model's voxels. The bounds are our choice.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import SimpleITK
import torch
from torch import Tensor

from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.features import Features
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.preprocess import map_to_source
from colipri_core.prompts.crop import Crop

Probabilities = npt.NDArray[np.float32]
Box = tuple[tuple[int, int, int], tuple[int, int, int]]

_INSIDE = 0.5
_MOST_PARTS = 64


def phrase_outline(runtime: ModelRuntime, features: Features, dense: Tensor, direction: Tensor) -> Crop:
    """Return what the phrase head outlines; empty if it outlines nothing, or the model has no such head.

    Args:
        runtime: The model.
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
        direction: Difference (E,) of the unit vectors of the present and absent sides.
    """
    head = runtime.phrase_head()
    if head is None:
        return Crop.empty()

    def work() -> Tensor:
        image = torch.from_numpy(features.prepared.array)[None, None].to(runtime.device)
        vectors = head(image, features.grid.to(runtime.device, torch.float32))
        logits: Tensor = head.answer(vectors, dense.to(vectors)[None], direction.to(vectors)[None, None])
        return logits[0, 0].float().sigmoid().cpu()

    probabilities = np.asarray(runtime.on_device(work).numpy(), dtype=np.float32)
    return painted(probabilities, features.prepared.geometry, features.prepared.source)


def painted(probabilities: Probabilities, grid: VolumeGeometry, source: VolumeGeometry) -> Crop:
    """Return where a map exceeds one half, interpolated to a volume's grid.

    Args:
        probabilities: (X, Y, Z) on `grid`.
        grid: The model's.
        source: The volume's.
    """
    return Crop.union(_part(probabilities, grid, source, span) for span in _spans(probabilities))


def _spans(probabilities: Probabilities) -> list[npt.NDArray[np.int64]]:
    """First and last index (2, 3) of each connected part above one half, the largest parts first."""
    image = SimpleITK.GetImageFromArray((probabilities > _INSIDE).astype(np.uint8))
    numbered = SimpleITK.RelabelComponent(SimpleITK.ConnectedComponent(image))
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(numbered)
    spans = []
    for label in shape.GetLabels()[:_MOST_PARTS]:
        box = np.asarray(shape.GetBoundingBox(label)).reshape(2, 3)[:, ::-1]  # SimpleITK counts from the last axis
        spans.append(np.stack([box[0], box[0] + box[1] - 1]))
    return spans


def _part(
    probabilities: Probabilities, grid: VolumeGeometry, source: VolumeGeometry, span: npt.NDArray[np.int64]
) -> Crop:
    """The voxels of a part: where the map around it, one model voxel wider, exceeds one half."""
    corners = np.asarray(list(itertools.product(*zip(span[0] - 1.0, span[1] + 1.0, strict=True))))
    positions = source.world_to_index(grid.index_to_world(corners))
    last = np.asarray(source.shape)
    start = np.clip(np.floor(positions.min(axis=0)).astype(int), 0, last)
    stop = np.clip(np.ceil(positions.max(axis=0)).astype(int) + 1, 0, last)
    if (start >= stop).any():
        return Crop.empty()
    i, j, k = (int(index) for index in start)
    around = source.cropped((i, j, k), [int(size) for size in stop - start])
    values = map_to_source(probabilities, grid, around, order=1, fill=0.0)
    return Crop.around(values > _INSIDE, lower=(i, j, k))
