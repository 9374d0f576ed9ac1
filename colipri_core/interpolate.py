"""Separable linear interpolation of 3D arrays, plane by plane, without a second full-size copy.

Where each target index depends on one source index alone, linear interpolation splits into three 1D interpolations.
They are done for one plane at a time along the larger array's slowest axis in memory, so that integer voxels are
converted a plane at a time and everything in between stays in cache. Planes are shared out over threads: NumPy
releases the interpreter's lock.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MAX_THREADS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class AxisMap:
    """Which source axis a target axis runs along, and the continuous source index of each of its voxels.

    Args:
        source_axis: 0, 1 or 2.
        positions: float64 array, one source index a target voxel.
    """

    source_axis: int
    positions: npt.NDArray[np.float64]


def interpolate(
    values: Array,
    axes: tuple[AxisMap, AxisMap, AxisMap],
    out: Array,
    *,
    finish: Callable[[Array], None] | None = None,
) -> None:
    """Fill `out` by linear interpolation along parallel axes; positions outside repeat the nearest voxel.

    Planes follow the memory order of the larger array; it is fastest when the other has that order too.

    Args:
        values: Source array `[i, j, k]`.
        axes: One map for each axis of `out`.
        out: float32 or float64 array; its dtype is the dtype of the arithmetic.
        finish: Called with each finished plane of `out`, to change it in place while it is in cache.
    """
    from_source = [axis_map.source_axis for axis_map in axes]
    larger_is_out = out.size > values.size
    target_axes = memory_order(out) if larger_is_out else [from_source.index(axis) for axis in memory_order(values)]
    source, flipped = _ascending(values.transpose([from_source[target] for target in target_axes]))
    lines = [
        _line(axes[target].positions, source.shape[place], out.dtype, flip=flipped[place])
        for place, target in enumerate(target_axes)
    ]
    planes = out.transpose(target_axes)
    workers = max(1, min(_MAX_THREADS, os.cpu_count() or 1, len(planes) // 8))
    bounds = np.linspace(0, len(planes), workers + 1).astype(int)
    jobs = [_PlaneJob(source, lines, planes, finish) for _ in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(_PlaneJob.run, jobs, bounds[:-1], bounds[1:]))


def memory_order(values: Array) -> tuple[int, int, int]:
    """The array's axes from the slowest to the fastest in memory."""
    i, j, k = sorted(range(3), key=lambda axis: -abs(values.strides[axis]))
    return i, j, k


@dataclasses.dataclass(frozen=True)
class _Line:
    """Linear interpolation along one axis: out[n] = in[lower[n]] + weight[n] * (in[upper[n]] - in[lower[n]])."""

    lower: npt.NDArray[np.intp]
    upper: npt.NDArray[np.intp]
    weight: Array
    grows: bool


def _line(positions: npt.NDArray[np.float64], size: int, dtype: npt.DTypeLike, *, flip: bool) -> _Line:
    inside = np.clip(size - 1 - positions if flip else positions, 0, size - 1)
    lower = np.minimum(np.floor(inside).astype(np.intp), max(size - 2, 0))
    weight = (inside - lower).astype(dtype)
    return _Line(lower, np.minimum(lower + 1, size - 1), weight, grows=len(positions) > size)


def _ascending(view: Array) -> tuple[Array, list[bool]]:
    """View whose indices ascend in memory, and which axes were reversed for that (taking from others would copy)."""
    flips = [stride < 0 for stride in view.strides]
    return view[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)], flips


class _PlaneJob:
    """Interpolates a run of output planes; the order of the three 1D steps keeps the arrays between them small."""

    def __init__(
        self, source: Array, lines: list[_Line], planes: Array, finish: Callable[[Array], None] | None
    ) -> None:
        self._source, self._planes, self._finish = source, planes, finish
        self._slow, self._rows, self._columns = lines
        rows, columns = source.shape[1:]
        self._plane_grows = planes.shape[1] * planes.shape[2] > rows * columns
        self._cache: dict[int, Array] = {}

    def run(self, start: int, stop: int) -> None:
        for index in range(start, stop):
            lower, upper = int(self._slow.lower[index]), int(self._slow.upper[index])
            weight, plane = self._slow.weight[index], self._planes[index]
            if self._plane_grows:
                self._in_plane(_mix(self._float(lower), self._float(upper), weight), plane)
            else:
                self._cache = {n: p for n, p in self._cache.items() if n in (lower, upper)}
                _mix(self._reduced(lower), self._reduced(upper).copy(), weight, out=plane)
            if self._finish is not None:
                self._finish(plane)

    def _float(self, index: int) -> Array:
        plane: Array = self._source[index].astype(self._planes.dtype)
        return plane

    def _reduced(self, index: int) -> Array:
        if index not in self._cache:
            self._cache[index] = np.empty(self._planes.shape[1:], dtype=self._planes.dtype)
            self._in_plane(self._source[index], self._cache[index])
        return self._cache[index]

    def _in_plane(self, plane: Array, out: Array) -> None:
        first, second = (1, 0) if self._rows.grows else (0, 1)
        self._along(second, self._along(first, plane), out)

    def _along(self, axis: int, plane: Array, out: Array | None = None) -> Array:
        line = self._columns if axis else self._rows
        lower, upper = (self._take(plane, picks, axis) for picks in (line.lower, line.upper))
        return _mix(lower, upper, line.weight if axis else line.weight[:, None], out=out)

    def _take(self, plane: Array, picks: npt.NDArray[np.intp], axis: int) -> Array:
        taken: Array = plane.take(picks, axis=axis).astype(self._planes.dtype, copy=False)
        return taken


def _mix(lower: Array, upper: Array, weight: Any, *, out: Array | None = None) -> Array:
    """`lower + weight * (upper - lower)`, which is exact where both are equal, as in ITK; overwrites `upper`."""
    upper -= lower
    upper *= weight
    return np.add(upper, lower, out=out)
