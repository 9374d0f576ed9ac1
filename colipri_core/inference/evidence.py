"""Evidence maps: how much more each place looks like a finding than like its absence.

Every token is brought into the joint space through the value path of the pooler (the MaskCLIP idea) and scaled to unit
length; its product with t+ - t- is a difference of cosine similarities. The map is interpolated linearly from the
token grid to the volume's own grid and not smoothed. It is NaN where the model did not look.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

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
    tokens, grid = _token_map(dense, direction), token_grid(features, dense)
    values = map_to_source(tokens, grid, features.prepared.source, order=1)
    peak = _peak(tokens, features, grid, tokens_to_look_at(features, grid))
    return Evidence(values=values, peak_ras=peak.ras, peak_value=float(values[peak.voxel]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Peak:
    """The highest place of a map.

    Args:
        voxel: Index of the voxel on the volume's own grid.
        ras: Its centre, RAS+ mm.
        value: The value there.
    """

    voxel: tuple[int, int, int]
    ras: Points
    value: float


def evidence_peak(features: Features, dense: Tensor, direction: Tensor) -> Peak:
    """Return the peak of a map without computing the map on the volume's grid.

    Args:
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
        direction: Difference (E,) of the unit vectors of the present and absent sides.
    """
    (peak,) = evidence_peaks(features, dense, [direction])
    return peak


def evidence_peaks(features: Features, dense: Tensor, directions: Sequence[Tensor]) -> list[Peak]:
    """Return the peaks of several maps, as `evidence_peak` does that of one.

    Args:
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
        directions: Differences (E,), one a map.
    """
    grid = token_grid(features, dense)
    allowed = tokens_to_look_at(features, grid)
    return [_peak(_token_map(dense, direction), features, grid, allowed) for direction in directions]


def token_grid(features: Features, dense: Tensor) -> VolumeGeometry:
    """Geometry of the token grid.

    Args:
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
    """
    patch = features.prepared.geometry.shape[0] // dense.shape[1]
    return token_geometry(features.prepared.geometry, patch)


def tokens_to_look_at(features: Features, grid: VolumeGeometry) -> npt.NDArray[np.bool_]:
    """Which tokens (x, y, z) may be a peak: in the body and in the volume, as far as any token is.

    Args:
        features: What is known of the volume.
        grid: The token grid.
    """
    in_volume = centres_inside(grid, features.prepared.source)
    in_body = in_volume & (token_fraction(features.body.inside, grid.shape) >= MIN_BODY_SHARE)
    return next((mask for mask in (in_body, in_volume) if mask.any()), np.ones(grid.shape, dtype=bool))


def _token_map(dense: Tensor, direction: Tensor) -> Map:
    return np.asarray((direction @ dense.flatten(1)).view(dense.shape[1:]).numpy(), dtype=np.float32)


def best_token(features: Features, dense: Tensor, direction: Tensor) -> tuple[int, int, int]:
    """Return the index of the token of most evidence, in the body where a token is.

    Args:
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
        direction: Difference (E,) of the unit vectors of the present and absent sides.
    """
    return _best(_token_map(dense, direction), tokens_to_look_at(features, token_grid(features, dense)))


def centres_inside(grid: VolumeGeometry, source: VolumeGeometry) -> npt.NDArray[np.bool_]:
    """Return which voxels (x, y, z) of a grid have their centre in a volume."""
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)
    positions = source.world_to_index(grid.index_to_world(indices))
    inside = (positions >= -0.5) & (positions <= np.asarray(source.shape) - 0.5)
    return np.asarray(inside.all(axis=-1))


def _best(tokens: Map, allowed: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    x, y, z = np.unravel_index(int(np.where(allowed, tokens, -np.inf).argmax()), tokens.shape)
    return int(x), int(y), int(z)


def _peak(tokens: Map, features: Features, grid: VolumeGeometry, allowed: npt.NDArray[np.bool_]) -> Peak:
    """The highest voxel of the interpolated map within the best token, in the body where the body reaches it."""
    source = features.prepared.source
    best = _best(tokens, allowed)
    corners = np.asarray(list(itertools.product((-0.5, 0.5), repeat=3))) + np.asarray(best)
    positions = source.world_to_index(grid.index_to_world(corners))
    last = np.asarray(source.shape) - 1
    start = np.clip(np.floor(positions.min(axis=0)), 0, last).astype(int)
    stop = np.clip(np.ceil(positions.max(axis=0)), 0, last).astype(int) + 1
    cropped = source.cropped([int(a) for a in start], [int(b) for b in stop - start])
    region = map_to_source(tokens, grid, cropped, order=1)
    inside = map_to_source(features.body.inside.astype(np.uint8), features.body.geometry, cropped, order=0)
    seen = ~np.isnan(region)
    looked_at = next((mask for mask in (seen & (inside > 0), seen) if mask.any()), seen)
    index = np.unravel_index(int(np.where(looked_at, region, -np.inf).argmax()), region.shape)
    i, j, k = (int(a) for a in start + np.asarray(index))
    return Peak(voxel=(i, j, k), ras=source.index_to_world((i, j, k)), value=float(region[index]))
