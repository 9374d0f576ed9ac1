"""Evidence maps: how much more each place looks like a finding than like its absence.

Every token is brought into the joint space through the value path of the pooler (the MaskCLIP idea) and scaled to unit
length; its product with t+ - t- is a difference of cosine similarities. The map is interpolated linearly from the
token grid to the volume's own grid and not smoothed. It is NaN where the model did not look.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
from torch import Tensor

from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.body import token_fraction
from colipri_core.inference.features import Features
from colipri_core.preprocess import map_to_source
from colipri_core.preprocess import token_geometry

Map = npt.NDArray[np.float32]

MIN_BODY_SHARE = 0.25
"""A token counts for the peak if at least this share of it lies in the body (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """A map and its peak.

    Args:
        values: float32 on the volume's own grid; NaN outside the field of view.
        peak_ras: World position of the highest value inside the body, RAS+ mm: the centre of a voxel.
        peak_value: The value there.
    """

    values: Map
    peak_ras: Points
    peak_value: float


def evidence_map(features: Features, dense: Tensor, direction: Tensor) -> Evidence:
    """Compare every token with the two sides of a question.

    Args:
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
        direction: Difference (E,) of the unit vectors of the present and absent sides.
    """
    tokens = np.asarray((direction @ dense.flatten(1)).view(dense.shape[1:]).numpy(), dtype=np.float32)
    source = features.prepared.source
    patch = features.prepared.geometry.shape[0] // tokens.shape[0]
    grid = token_geometry(features.prepared.geometry, patch)
    values = map_to_source(tokens, grid, source, order=1)
    best = _best_token(tokens, features, grid)
    return _peak(values, features, grid, best)


def _best_token(tokens: Map, features: Features, grid: VolumeGeometry) -> tuple[int, int, int]:
    """Index of the token with the highest value, in the body and in the volume as far as any token is."""
    in_volume = _centres_inside(grid, features.prepared.source)
    in_body = in_volume & (token_fraction(features.body.inside, tokens.shape) >= MIN_BODY_SHARE)
    allowed = next((mask for mask in (in_body, in_volume) if mask.any()), np.ones(tokens.shape, dtype=bool))
    x, y, z = np.unravel_index(int(np.where(allowed, tokens, -np.inf).argmax()), tokens.shape)
    return int(x), int(y), int(z)


def _centres_inside(grid: VolumeGeometry, source: VolumeGeometry) -> npt.NDArray[np.bool_]:
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)
    positions = source.world_to_index(grid.index_to_world(indices))
    inside = (positions >= -0.5) & (positions <= np.asarray(source.shape) - 0.5)
    return np.asarray(inside.all(axis=-1))


def _peak(values: Map, features: Features, grid: VolumeGeometry, best: tuple[int, int, int]) -> Evidence:
    """The highest voxel of the interpolated map within the best token, in the body where the body reaches it."""
    source = features.prepared.source
    corners = np.asarray(list(itertools.product((-0.5, 0.5), repeat=3))) + np.asarray(best)
    positions = source.world_to_index(grid.index_to_world(corners))
    last = np.asarray(source.shape) - 1
    start = np.clip(np.floor(positions.min(axis=0)), 0, last).astype(int)
    stop = np.clip(np.ceil(positions.max(axis=0)), 0, last).astype(int) + 1
    region = values[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))]
    inside = map_to_source(
        features.body.inside.astype(np.uint8),
        features.body.geometry,
        source.cropped([int(a) for a in start], region.shape),
        order=0,
    )
    seen = ~np.isnan(region)
    allowed = next((mask for mask in (seen & (inside > 0), seen) if mask.any()), seen)
    flat = int(np.where(allowed, region, -np.inf).argmax())
    voxel = start + np.asarray(np.unravel_index(flat, region.shape))
    i, j, k = (int(index) for index in voxel)
    return Evidence(values=values, peak_ras=source.index_to_world(voxel), peak_value=float(values[i, j, k]))
