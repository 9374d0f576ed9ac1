"""Voxel types on the way from a file into memory: integers stay integers, as narrow as they fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def compact(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return voxels as int16 where the values fit, else uint8, int32 or float32.

    uint8 stays uint8, since it says something of where the image came from. Values that fit no 32-bit integer become
    float32. Nothing is copied where the type is right already.

    Args:
        voxels: Array of any integer or floating type.
    """
    native = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "f":
        return native.astype(np.float32, copy=False)
    if native.dtype.kind == "b":
        return native.astype(np.uint8)
    if native.dtype in (np.uint8, np.int16):
        return native
    low, high = int(native.min()), int(native.max())
    for dtype in (np.int16, np.int32):
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return native.astype(dtype)
    return native.astype(np.float32)


def rescale(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """Return `slope * stored + intercept`, in integers where both are whole and the result fits int32.

    Args:
        stored: Stored values, integer or floating.
        slope: Factor.
        intercept: Offset.
    """
    if slope == 1 and intercept == 0:
        return compact(stored)
    if stored.dtype.kind in "iub" and slope == int(slope) and intercept == int(intercept):
        bounds = [slope * int(value) + intercept for value in (stored.min(), stored.max())]
        for dtype in (np.int16, np.int32):
            limits = np.iinfo(dtype)
            if limits.min <= min(*bounds, intercept) and max(*bounds, intercept) <= limits.max:
                return _whole(stored, int(slope), int(intercept), dtype)
    out = np.empty(stored.shape, dtype=np.float32, order="F" if stored.flags.f_contiguous else "C")
    np.multiply(stored, np.float32(slope), out=out, casting="unsafe")
    out += np.float32(intercept)
    return out


def _whole(stored: npt.NDArray[Any], slope: int, intercept: int, dtype: type[Any]) -> npt.NDArray[Any]:
    # Intermediate products may pass the limits of int16, so each plane is computed in int64.
    out = np.empty(stored.shape, dtype=dtype, order="F" if stored.flags.f_contiguous else "C")
    slowest = int(np.argmax(np.abs(stored.strides)))
    for source, target in zip(np.moveaxis(stored, slowest, 0), np.moveaxis(out, slowest, 0), strict=True):
        target[...] = source.astype(np.int64) * slope + intercept
    return out
