"""Where within its best token a phrase is seen: the voxels on which the answer there depends most.

A token is as coarse as a patch, and a click that is to start an outline must lie on the object. The gradient of the
token's evidence by the voxels says which of them matter (Simonyan et al., "Deep inside convolutional networks", 2014),
for one more pass through the encoder and the way back. The smoothing and the bounds are our choice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.evidence import best_token
from colipri_core.inference.evidence import centres_inside
from colipri_core.inference.features import Features
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.preprocess import map_to_source
from colipri_core.progress import Reporter
from colipri_core.prompts.attention import Attention

Mask = npt.NDArray[np.bool_]

MAX_TOKENS = 12
"""Tokens along an axis that the gradient runs through, around the best: what it takes of memory grows with them."""

_SMOOTHED = 3
"""Edge in voxels of the cube over which the gradient is averaged, twice."""


_MOST_PLACES = 4
_LEAST_INFLUENCE = 0.3
_APART = 2
"""Places: how many, how influential over the first, and how many voxels apart (our choice, tried on phantoms)."""


def look_closer(
    runtime: ModelRuntime, features: Features, dense: Tensor, direction: Tensor, text: str, report: Reporter
) -> Attention:
    """Return where a phrase is seen: in or just beside the best token, at voxel centres of the volume.

    Args:
        runtime: The model.
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
        direction: Difference (E,) of the unit vectors of the present and absent sides.
        text: The phrase.
        report: Told of the progress; looked at for a cancellation after every block of the encoder.

    Raises:
        Cancelled: If the reporter's cancel token is set.
    """
    patch = runtime.bundle.model.patch_size
    token = np.asarray(best_token(features, dense, direction))
    start = np.clip(token - MAX_TOKENS // 2, 0, np.maximum(0, np.asarray(dense.shape[1:]) - MAX_TOKENS))
    stop = np.minimum(start + MAX_TOKENS, dense.shape[1:])
    part = tuple(slice(int(a) * patch, int(b) * patch) for a, b in zip(start, stop, strict=True))
    image = torch.from_numpy(np.ascontiguousarray(features.prepared.array[part]))[None, None]
    weight = runtime.on_device(lambda: _influence(runtime, image, direction, token - start, report))
    grid = features.prepared.geometry.cropped([edge.start for edge in part], list(weight.shape))
    allowed = _beside(weight.shape, (token - start) * patch, patch) & centres_inside(grid, features.prepared.source)
    in_body = allowed & _in_body(features, grid)
    chosen = in_body if in_body.any() else allowed
    found = grid.index_to_world(_peaks(np.where(chosen, weight, 0.0)))
    source = features.prepared.source
    voxels = np.clip(np.rint(source.world_to_index(found)), 0, np.asarray(source.shape) - 1)
    places = [(float(r), float(a), float(s)) for r, a, s in source.index_to_world(voxels)]
    return Attention(text=text, places=tuple(dict.fromkeys(places)), influence=weight, geometry=grid)


def _peaks(weight: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Indices (P, 3) of the highest voxel, and of the next highest ones that lie apart from those before."""
    left = weight.copy()
    found: list[tuple[np.intp, ...]] = []
    while len(found) < _MOST_PLACES:
        place = np.unravel_index(int(left.argmax()), left.shape)
        if found and left[place] < _LEAST_INFLUENCE * weight.max():
            break
        found.append(place)
        left[tuple(slice(max(0, int(at) - _APART), int(at) + _APART + 1) for at in place)] = -1.0
    return np.asarray(found)


def _influence(
    runtime: ModelRuntime, image: Tensor, direction: Tensor, token: npt.NDArray[np.intp], report: Reporter
) -> npt.NDArray[np.float32]:
    """How much the evidence of a token changes with each voxel (X, Y, Z) of a prepared volume (1, 1, X, Y, Z)."""
    model = runtime.bundle.model
    with torch.inference_mode(mode=False), torch.enable_grad():
        voxels = image.to(runtime.device, runtime.precision, copy=True).requires_grad_()
        tokens = F.normalize(model.dense(model.image_features(voxels, progress=report).float()), dim=1)
        x, y, z = (int(index) for index in token)
        evidence = direction.clone().to(tokens) @ tokens[0, :, x, y, z]
        (gradient,) = torch.autograd.grad(evidence, voxels)
    influence = gradient.float().abs()
    for _ in range(2):
        influence = F.avg_pool3d(influence, _SMOOTHED, stride=1, padding=_SMOOTHED // 2)
    return np.asarray(influence[0, 0].cpu().numpy(), dtype=np.float32)


def _beside(shape: tuple[int, ...], corner: npt.NDArray[np.intp], patch: int) -> Mask:
    """Voxels of a token and of half a token around it."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(max(0, int(a) - patch // 2), int(a) + patch + patch // 2) for a in corner)] = True
    return mask


def _in_body(features: Features, grid: VolumeGeometry) -> Mask:
    inside = map_to_source(features.body.inside.astype(np.uint8), features.body.geometry, grid, order=0)
    return np.asarray(inside > 0)
