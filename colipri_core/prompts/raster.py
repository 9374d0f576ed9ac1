"""Prompts as voxels of a grid of any orientation; distances are measured in mm, in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.strokes import Stroke
from colipri_core.prompts.types import Box
from colipri_core.prompts.types import Lasso
from colipri_core.prompts.types import Point
from colipri_core.prompts.types import Position
from colipri_core.prompts.types import Prompt
from colipri_core.prompts.types import Scribble

_PLANE_TOLERANCE = 1.0
"""How far, in diagonals of a voxel, a corner of a lasso may lie off its plane (our choice)."""
_FAR = 1e6
"""Voxels off the grid from which on a position is no part of a drawing (our choice); closer, float64 is exact."""


def prompt_mask(prompt: Prompt, geometry: VolumeGeometry) -> Crop:
    """Return the voxels a prompt covers; at least one.

    A point covers the voxel it lies in; a scribble those whose centre is within its radius and those it passes
    through; a box those from corner to corner; a lasso those of the plane it was drawn in whose centre it encloses.

    Args:
        prompt: Point, scribble, box or lasso.
        geometry: The grid.

    Raises:
        TypeError: If the prompt has no place, as a phrase.
        ValueError: If it lies outside the grid, or a lasso is not drawn in one plane.
    """
    if isinstance(prompt, Point):
        return _around(_inside(_indices([prompt.ras], geometry, "point"), geometry, "point"))
    if isinstance(prompt, Scribble):
        return _scribble(prompt, geometry)
    if isinstance(prompt, Box):
        return _box(prompt, geometry)
    if isinstance(prompt, Lasso):
        return _lasso(prompt, geometry)
    msg = f"Expected a point, scribble, box or lasso, got {type(prompt).__name__}, which has no voxels."
    raise TypeError(msg)


def _indices(positions: Sequence[Position] | Points, geometry: VolumeGeometry, kind: str) -> npt.NDArray[np.intp]:
    return np.floor(_placed(positions, geometry, kind) + 0.5).astype(np.intp)


def _placed(positions: Sequence[Position] | Points, geometry: VolumeGeometry, kind: str) -> Points:
    """Positions as voxel indices; refuses those so far away that nobody drew them on the volume."""
    with np.errstate(over="ignore", invalid="ignore"):
        indices = geometry.world_to_index(positions)
    if not (np.abs(indices) < _FAR).all():
        raise _outside(kind, geometry)
    return indices


def _inside(indices: npt.NDArray[np.intp], geometry: VolumeGeometry, kind: str) -> npt.NDArray[np.intp]:
    """Drop the voxels beyond the grid."""
    kept = indices[((indices >= 0) & (indices < geometry.shape)).all(axis=1)]
    if not len(kept):
        raise _outside(kind, geometry)
    return kept


def _outside(kind: str, geometry: VolumeGeometry) -> ValueError:
    return ValueError(
        f"Expected a {kind} in the volume, got one outside of it. "
        f"Its corners lie at {_corners(geometry)} (R, A, S in mm)."
    )


def _corners(geometry: VolumeGeometry) -> str:
    ends = geometry.index_to_world(np.stack([np.zeros(3), np.asarray(geometry.shape) - 1]))
    return " and ".join("(" + ", ".join(f"{value:.1f}" for value in end) + ")" for end in ends)


def _around(indices: npt.NDArray[np.intp]) -> Crop:
    lower = indices.min(axis=0)
    mask = np.zeros(indices.max(axis=0) - lower + 1, dtype=bool)
    mask[tuple((indices - lower).T)] = True
    return Crop(lower=_index(lower), mask=mask)


def _index(values: npt.NDArray[Any]) -> tuple[int, int, int]:
    i, j, k = (int(value) for value in values)
    return i, j, k


def _scribble(scribble: Scribble, geometry: VolumeGeometry) -> Crop:
    positions = _placed(scribble.ras, geometry, "scribble")
    crop = Stroke(positions=positions, radius_mm=scribble.radius_mm, geometry=geometry).crop()
    if crop is None:
        raise _outside("scribble", geometry)
    return crop


def _box(box: Box, geometry: VolumeGeometry) -> Crop:
    corners = _indices([box.lower_ras, box.upper_ras], geometry, "box")
    lower = np.maximum(corners.min(axis=0), 0)
    upper = np.minimum(corners.max(axis=0) + 1, geometry.shape)
    if (lower >= upper).any():
        raise _outside("box", geometry)
    return Crop(lower=_index(lower), mask=np.ones(upper - lower, dtype=bool))


def _lasso(lasso: Lasso, geometry: VolumeGeometry) -> Crop:
    """Voxels of the curve's plane: one for each column along the voxel axis that is nearest to the plane's normal."""
    corners = _placed(lasso.ras, geometry, "lasso")
    centre = corners.mean(axis=0)
    normal = np.linalg.svd(corners - centre, full_matrices=False)[2][2]
    if np.abs((corners - centre) @ normal).max() > _PLANE_TOLERANCE * np.sqrt(3):
        msg = "Expected a lasso drawn in one plane, got corners that lie off it. Draw it in one slice."
        raise ValueError(msg)
    axis = int(np.abs(normal).argmax())
    first, second = (other for other in range(3) if other != axis)
    flat = corners[:, [first, second]]
    low = np.maximum(np.ceil(flat.min(axis=0)), 0).astype(int)
    high = np.minimum(np.floor(flat.max(axis=0)) + 1, np.asarray(geometry.shape)[[first, second]]).astype(int)
    enclosed = low + np.argwhere(_enclosed(flat - low, high - low))
    indices = np.empty((len(enclosed), 3))
    indices[:, [first, second]] = enclosed
    off = (indices[:, [first, second]] - centre[[first, second]]) @ normal[[first, second]]
    indices[:, axis] = np.floor(centre[axis] - off / normal[axis] + 0.5)
    if not len(indices):  # a curve between voxel centres still means the voxels it was drawn on
        indices = _indices(lasso.ras, geometry, "lasso").astype(np.float64)
    return _around(_inside(indices.astype(np.intp), geometry, "lasso"))


def _enclosed(polygon: Points, shape: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
    """Which points of a grid of `shape` (X, Y) lie in a polygon (N, 2), by the even-odd rule.

    An edge that crosses a row turns all points before the crossing, so it is enough to note where it is.
    """
    columns, rows = (max(0, int(size)) for size in shape)
    crossings = np.zeros((columns + 1, rows), dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        first, last = (int(np.clip(np.ceil(y), 0, rows)) for y in sorted((y0, y1)))
        y = np.arange(first, last)
        if len(y):
            x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            crossings[np.clip(np.ceil(x), 0, columns).astype(int), y] ^= True
    inside: npt.NDArray[np.bool_] = np.logical_xor.accumulate(crossings[::-1], axis=0)[::-1][1:]
    return inside
