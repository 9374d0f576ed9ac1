"""Prompts as voxels of a grid of any orientation; distances are measured in mm, in the patient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.types import Box
from colipri_core.prompts.types import Lasso
from colipri_core.prompts.types import Point
from colipri_core.prompts.types import Position
from colipri_core.prompts.types import Prompt
from colipri_core.prompts.types import Scribble

_PLANE_TOLERANCE = 1.0
"""How far, in diagonals of a voxel, a corner of a lasso may lie off its plane (our choice)."""
_STEP = 0.5
"""Distance of the samples along a stroke, in voxels of the finest spacing (our choice)."""
_CHUNK_VOXELS = 4_000_000


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
        return _around(_inside(_indices([prompt.ras], geometry), geometry, "point"))
    if isinstance(prompt, Scribble):
        return _scribble(prompt, geometry)
    if isinstance(prompt, Box):
        return _box(prompt, geometry)
    if isinstance(prompt, Lasso):
        return _lasso(prompt, geometry)
    msg = f"Expected a point, scribble, box or lasso, got {type(prompt).__name__}, which has no voxels."
    raise TypeError(msg)


def _indices(positions: Sequence[Position] | Points, geometry: VolumeGeometry) -> npt.NDArray[np.intp]:
    return np.floor(geometry.world_to_index(positions) + 0.5).astype(np.intp)


def _inside(indices: npt.NDArray[np.intp], geometry: VolumeGeometry, kind: str) -> npt.NDArray[np.intp]:
    """Drop the voxels beyond the grid."""
    kept = indices[((indices >= 0) & (indices < geometry.shape)).all(axis=1)]
    if not len(kept):
        msg = f"{_outside(kind)} Its corners lie at {_corners(geometry)} (R, A, S in mm)."
        raise ValueError(msg)
    return kept


def _outside(kind: str) -> str:
    return f"Expected a {kind} in the volume, got one outside of it."


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
    path = np.asarray(scribble.ras)
    passed = _inside(_indices(_sampled(path, geometry), geometry), geometry, "scribble")
    margin = scribble.radius_mm * np.linalg.norm(np.linalg.inv(geometry.affine[:3, :3]), axis=1)
    ends = geometry.world_to_index(path)
    lower = np.clip(np.ceil(ends.min(axis=0) - margin), 0, np.asarray(geometry.shape) - 1).astype(np.intp)
    upper = np.clip(np.floor(ends.max(axis=0) + margin), 0, np.asarray(geometry.shape) - 1).astype(np.intp)
    lower, upper = np.minimum(lower, passed.min(axis=0)), np.maximum(upper, passed.max(axis=0))
    mask = np.zeros(upper - lower + 1, dtype=bool)
    for start, stop in itertools.pairwise(path) if len(path) > 1 else [(path[0], path[0])]:
        _add_stroke(mask, geometry.cropped(lower.tolist(), mask.shape), (start, stop), scribble.radius_mm)
    mask[tuple((passed - lower).T)] = True
    return Crop.around(mask, lower=_index(lower))


def _sampled(path: Points, geometry: VolumeGeometry) -> Points:
    """Positions along a path, dense enough to meet every voxel on the way."""
    step = _STEP * min(geometry.spacing)
    pieces = [path[:1]]
    for start, stop in itertools.pairwise(path):
        count = max(1, int(np.ceil(np.linalg.norm(stop - start) / step)))
        pieces.append(start + (stop - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)


def _add_stroke(
    mask: npt.NDArray[np.bool_], geometry: VolumeGeometry, ends: tuple[Points, Points], radius_mm: float
) -> None:
    """Set the voxels whose centre lies within a radius of a line, looking only at the box around it."""
    margin = radius_mm * np.linalg.norm(np.linalg.inv(geometry.affine[:3, :3]), axis=1)
    indices = geometry.world_to_index(np.stack(ends))
    lower = np.maximum(np.ceil(indices.min(axis=0) - margin), 0).astype(int)
    upper = np.minimum(np.floor(indices.max(axis=0) + margin) + 1, mask.shape).astype(int)
    if (lower >= upper).any():
        return
    thickness = max(1, _CHUNK_VOXELS // int(np.prod(upper[1:] - lower[1:])))
    for first in range(int(lower[0]), int(upper[0]), thickness):
        last = min(first + thickness, int(upper[0]))
        box = (slice(first, last), slice(int(lower[1]), int(upper[1])), slice(int(lower[2]), int(upper[2])))
        centres = geometry.index_to_world(np.moveaxis(np.mgrid[box], 0, -1))
        mask[box] |= _distance(centres, *ends) <= radius_mm


def _distance(points: Points, start: Points, stop: Points) -> npt.NDArray[np.float64]:
    along = stop - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1)[..., None] if length else 0.0
    distance: npt.NDArray[np.float64] = np.linalg.norm(points - start - share * along, axis=-1)
    return distance


def _box(box: Box, geometry: VolumeGeometry) -> Crop:
    corners = _indices([box.lower_ras, box.upper_ras], geometry)
    lower = np.maximum(corners.min(axis=0), 0)
    upper = np.minimum(corners.max(axis=0) + 1, geometry.shape)
    if (lower >= upper).any():
        msg = f"{_outside('box')} Its corners lie at {_corners(geometry)} (R, A, S in mm)."
        raise ValueError(msg)
    return Crop(lower=_index(lower), mask=np.ones(upper - lower, dtype=bool))


def _lasso(lasso: Lasso, geometry: VolumeGeometry) -> Crop:
    """Voxels of the curve's plane: one for each column along the voxel axis that is nearest to the plane's normal."""
    corners = geometry.world_to_index(lasso.ras)
    centre = corners.mean(axis=0)
    normal = np.linalg.svd(corners - centre)[2][2]
    if np.abs((corners - centre) @ normal).max() > _PLANE_TOLERANCE * np.sqrt(3):
        msg = "Expected a lasso drawn in one plane, got corners that lie off it. Draw it in one slice."
        raise ValueError(msg)
    axis = int(np.abs(normal).argmax())
    first, second = (other for other in range(3) if other != axis)
    flat = corners[:, [first, second]]
    low = np.maximum(np.ceil(flat.min(axis=0)), 0).astype(int)
    high = np.minimum(np.floor(flat.max(axis=0)) + 1, np.asarray(geometry.shape)[[first, second]]).astype(int)
    grid = np.stack(np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]), indexing="ij"), axis=-1)
    enclosed = grid[_enclosed(grid, flat)]
    indices = np.empty((len(enclosed), 3))
    indices[:, [first, second]] = enclosed
    off = (indices[:, [first, second]] - centre[[first, second]]) @ normal[[first, second]]
    indices[:, axis] = np.floor(centre[axis] - off / normal[axis] + 0.5)
    if not len(indices):  # a curve between voxel centres still means the voxels it was drawn on
        indices = _indices(lasso.ras, geometry).astype(np.float64)
    return _around(_inside(indices.astype(np.intp), geometry, "lasso"))


def _enclosed(points: npt.NDArray[np.int_], polygon: Points) -> npt.NDArray[np.bool_]:
    """Which points (..., 2) lie in a polygon (N, 2), by the even-odd rule."""
    inside = np.zeros(points.shape[:-1], dtype=bool)
    x, y = points[..., 0], points[..., 1]
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 != y1:
            crossed = (y0 > y) != (y1 > y)
            inside ^= crossed & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside
