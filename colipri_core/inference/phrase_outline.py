"""What a model's phrase head outlines of a phrase, on the volume's own grid.

The head sees voxels of the model's grid, and a lesion may be no larger than a few of them. So its probabilities,
interpolated to the volume part by part, are the prior of each voxel, and the voxel's intensity decides where the border
lies: by Bayes' rule, with a normal distribution inside and another one around the part. All numbers are our choice.
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
from colipri_core.volume import Volume

Probabilities = npt.NDArray[np.float32]
Hu = npt.NDArray[np.float32]
Span = npt.NDArray[np.int64]

_SURE = 0.5
_MAYBE = 0.3
"""A part is a connected set of model voxels above the lower of the two that holds one above the higher."""

_MOST_PARTS = 64

_AROUND = 1.5
"""Model voxels beside a part that are looked at."""

_LARGE = 2_000_000
"""Voxels of the volume above which a part is bordered by the probabilities alone: large parts gain little by
intensities, and looking at them takes time and memory that grow with the box."""

_DOUBT = 0.02
"""However sure the head is, intensities have so much of a say; where it gives less than this, they have none."""

_LEAST_SPREAD = 30.0
"""Standard deviation in HU of the noise: nothing is told apart by less."""

_RANGE = (-1000.0, 1500.0)


def phrase_outline(
    runtime: ModelRuntime, features: Features, volume: Volume, *, dense: Tensor, direction: Tensor
) -> Crop:
    """Return what the phrase head outlines; empty if it outlines nothing, or the model has no such head.

    Args:
        runtime: The model.
        features: What is known of the volume.
        volume: The volume.
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
    return painted(probabilities, features.prepared.geometry, volume)


def painted(probabilities: Probabilities, grid: VolumeGeometry, volume: Volume) -> Crop:
    """Return what a map outlines, on a volume's grid.

    Args:
        probabilities: (X, Y, Z) on `grid`.
        grid: The model's.
        volume: The volume.
    """
    return Crop.union(_part(probabilities, grid, volume, span) for span in _spans(probabilities))


def bordered(prior: Probabilities, hu: Hu) -> npt.NDArray[np.bool_]:
    """Return where Bayes' rule puts the border of what a map shows.

    Args:
        prior: Probability of each voxel to lie inside.
        hu: Intensities.
    """
    hu = hu.clip(*_RANGE)
    inside = prior.clip(_DOUBT, 1 - _DOUBT)
    odds = np.log(inside / (1 - inside)) + _log_density(hu, inside) - _log_density(hu, 1 - inside)
    return np.asarray((odds > 0) & (prior > _DOUBT))


def _log_density(hu: Hu, weight: Probabilities) -> Hu:
    """Logarithm, but for a constant, of the normal density with the weighted mean and deviation."""
    mean = np.average(hu, weights=weight)
    spread = max(_LEAST_SPREAD, float(np.sqrt(np.average((hu - mean) ** 2, weights=weight))))
    return np.asarray(-0.5 * ((hu - mean) / spread) ** 2 - np.log(spread), dtype=np.float32)


def _spans(probabilities: Probabilities) -> list[Span]:
    """First and last index (2, 3) of each part, the largest first."""
    image = SimpleITK.GetImageFromArray(probabilities)
    numbered = SimpleITK.RelabelComponent(SimpleITK.ConnectedComponent(image > _MAYBE))
    values = SimpleITK.LabelIntensityStatisticsImageFilter()
    values.Execute(numbered, image)
    spans = []
    for label in [label for label in values.GetLabels() if values.GetMaximum(label) > _SURE][:_MOST_PARTS]:
        box = np.asarray(values.GetBoundingBox(label)).reshape(2, 3)[:, ::-1]  # SimpleITK counts from the last axis
        spans.append(np.stack([box[0], box[0] + box[1] - 1]))
    return spans


def _part(probabilities: Probabilities, grid: VolumeGeometry, volume: Volume, span: Span) -> Crop:
    """The voxels of a part."""
    source = volume.geometry
    corners = np.asarray(list(itertools.product(*zip(span[0] - _AROUND, span[1] + _AROUND, strict=True))))
    positions = source.world_to_index(grid.index_to_world(corners))
    last = np.asarray(source.shape)
    start = np.clip(np.floor(positions.min(axis=0)).astype(int), 0, last)
    stop = np.clip(np.ceil(positions.max(axis=0)).astype(int) + 1, 0, last)
    if (start >= stop).any():
        return Crop.empty()
    i, j, k = (int(index) for index in start)
    around = source.cropped((i, j, k), [int(size) for size in stop - start])
    prior = map_to_source(probabilities, grid, around, order=1, fill=0.0)
    if prior.size > _LARGE:
        return Crop.around(prior > _SURE, lower=(i, j, k))
    hu = volume.voxels[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))]
    return Crop.around(bordered(prior, hu.astype(np.float32)), lower=(i, j, k))
