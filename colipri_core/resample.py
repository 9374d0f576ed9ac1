"""Resampling between two grids: separable where their axes run in parallel, a general gather where they do not.

A model grid keeps the volume's own (possibly oblique) axes, so the fast separable way is the usual one. Any other pair
of grids goes through SimpleITK, slab by slab.

Positions follow ITK: a voxel's index names its centre, the grid ends half a voxel beyond the outer centres, values in
that half voxel repeat the outer one, and everything further out is `fill`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import VolumeGeometry
from colipri_core.interpolate import AxisMap
from colipri_core.interpolate import interpolate

Array = npt.NDArray[Any]

_PARALLEL_TOLERANCE = 1e-3
_SLAB_PLANES = 32


def parallel_axes(target: VolumeGeometry, source: VolumeGeometry) -> tuple[AxisMap, AxisMap, AxisMap] | None:
    """Match the axes of two grids that are parallel to each other, in any order and sense.

    Args:
        target: The grid to be filled.
        source: The grid the values lie on.

    Returns:
        One map for each target axis, or None if some target axis runs across source axes by more than 1/1000 of a
        source voxel over its whole length.
    """
    matrix = np.linalg.inv(source.affine) @ target.affine
    linear, offset = matrix[:3, :3], matrix[:3, 3]
    axes = [int(axis) for axis in np.abs(linear).argmax(axis=0)]
    drift = np.abs(linear) * np.asarray(target.shape)
    drift[axes, range(3)] = 0.0
    if len(set(axes)) != 3 or drift.max() > _PARALLEL_TOLERANCE:
        return None
    i, j, k = (
        AxisMap(source_axis=axis, positions=linear[axis, column] * np.arange(target.shape[column]) + offset[axis])
        for column, axis in enumerate(axes)
    )
    return i, j, k


def resample(
    values: Array, source: VolumeGeometry, target: VolumeGeometry, *, order: int = 1, fill: float | None = None
) -> Array:
    """Bring values from one grid onto another by world position.

    Args:
        values: Array `[i, j, k]` on the source grid.
        source: Grid of the values.
        target: Grid wanted.
        order: 1 for linear interpolation (float32 result), 0 for nearest neighbour (dtype of the values).
        fill: Value outside the source grid; None is NaN for order 1 and 0 for order 0.

    Returns:
        Array of the target's shape in Fortran order (k slowest), as volumes read from files have it.

    Raises:
        ValueError: If the values do not have the source's shape, the order is unknown or the fill does not fit.
    """
    if values.shape != source.shape:
        msg = f"The values have shape {values.shape}, their grid {source.shape}; they must agree."
        raise ValueError(msg)
    if order not in (0, 1):
        msg = f"The order must be 0 (nearest) or 1 (linear), got {order}."
        raise ValueError(msg)
    outside = (np.nan if order else 0) if fill is None else fill
    if order == 0 and not _can_hold(values.dtype, outside):
        msg = f"The fill {outside} cannot be stored as {values.dtype}."
        raise ValueError(msg)
    axes = parallel_axes(target, source)
    if axes is None:
        return _gather(values, source, target, order=order, fill=outside)
    out = np.empty(target.shape, dtype=np.float32 if order else values.dtype, order="F")
    if order:
        interpolate(values, axes, out)
    else:
        _nearest(values, axes, out)
    for axis, axis_map in enumerate(axes):
        _fill_outside(np.moveaxis(out, axis, 0), axis_map.positions, values.shape[axis_map.source_axis], outside)
    return out


def _can_hold(dtype: np.dtype[Any], fill: float) -> bool:
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= fill <= limits.max) and fill == int(fill)


def _nearest(values: Array, axes: tuple[AxisMap, AxisMap, AxisMap], out: Array) -> None:
    order = [axis_map.source_axis for axis_map in axes]
    view = values.transpose(order)
    picks = [
        np.clip(np.floor(axis_map.positions + 0.5).astype(np.intp), 0, view.shape[target] - 1)
        for target, axis_map in enumerate(axes)
    ]
    for k, source_k in enumerate(picks[2]):
        out[:, :, k] = view[:, :, source_k].take(picks[1], axis=1).take(picks[0], axis=0)


def _fill_outside(out: Array, positions: npt.NDArray[np.float64], size: int, fill: float) -> None:
    # Round-off in the affines must not cut the outer half voxels of a grid that ends exactly with the other.
    outside = (positions < -0.5 - _PARALLEL_TOLERANCE) | (positions > size - 0.5 + _PARALLEL_TOLERANCE)
    if outside.any():
        out[outside] = fill


def _gather(values: Array, source: VolumeGeometry, target: VolumeGeometry, *, order: int, fill: float) -> Array:
    """Resample across grids of different directions with SimpleITK, in index space, a slab of k planes at a time."""
    import SimpleITK

    dtype = np.dtype(np.float32) if order else values.dtype
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0).astype(dtype, copy=False)))
    matrix = np.linalg.inv(source.affine) @ target.affine
    out = np.empty(target.shape, dtype=dtype, order="F")
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetInterpolator(SimpleITK.sitkLinear if order else SimpleITK.sitkNearestNeighbor)
    resampler.SetDefaultPixelValue(float(fill))
    for start in range(0, target.shape[2], _SLAB_PLANES):
        stop = min(start + _SLAB_PLANES, target.shape[2])
        transform = SimpleITK.AffineTransform(3)
        transform.SetMatrix(matrix[:3, :3].ravel().tolist())
        transform.SetTranslation((matrix[:3, 3] + matrix[:3, 2] * start).tolist())
        resampler.SetTransform(transform)
        resampler.SetSize([*target.shape[:2], stop - start])
        slab = resampler.Execute(image)
        # The view does not keep its image alive, so the image needs a name for as long as the view is read.
        out[:, :, start:stop] = SimpleITK.GetArrayViewFromImage(slab).transpose(2, 1, 0)
    return out
