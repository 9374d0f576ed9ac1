"""What a user points at, as the maps that the click network reads: numpy only, shared by training and inference.

`previous` is the mask as it stands. `positive` and `negative` are places: a Gaussian around a point, 1 on scribbles,
lassos and (negative) boxes. `box` rises from a half at the faces of a positive box to 1 in its middle, so that the
object, which touches the faces, is told from the box's corners. All are in [0, 1]; the shapes are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

HINTS = ("previous", "positive", "negative", "box")
"""Order of the maps in the network's input."""

Hint = npt.NDArray[np.float32]

POINT_SIGMA = 1.5
"""Width of the Gaussian that stands for a point, in voxels of the region."""

_REACH = 4 * POINT_SIGMA


def empty_hints(size: int) -> Hint:
    """Return maps (H, X, Y, Z) that say nothing.

    Args:
        size: Edge of the region in voxels.
    """
    return np.zeros((len(HINTS), size, size, size), dtype=np.float32)


def paint_point(hint: Hint, position: Sequence[float]) -> None:
    """Add a point to a map, in place; the part of it that lies outside is left out.

    Args:
        hint: Map (X, Y, Z).
        position: Continuous voxel index.
    """
    lower = [max(0, int(np.ceil(at - _REACH))) for at in position]
    upper = [min(size, int(np.floor(at + _REACH)) + 1) for at, size in zip(position, hint.shape, strict=True)]
    if any(a >= b for a, b in zip(lower, upper, strict=True)):
        return
    lines = [
        np.exp(-0.5 * ((np.arange(a, b) - at) / POINT_SIGMA) ** 2).astype(np.float32)
        for a, b, at in zip(lower, upper, position, strict=True)
    ]
    part = hint[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))]
    np.maximum(part, lines[0][:, None, None] * lines[1][:, None] * lines[2], out=part)


def paint_box(hint: Hint, lower: Sequence[int], upper: Sequence[int]) -> None:
    """Add a box to a map, in place.

    Args:
        hint: Map (X, Y, Z).
        lower: First voxel.
        upper: Just beyond the last voxel.
    """
    lines = [_tent(a, b) for a, b in zip(lower, upper, strict=True)]
    part = hint[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))]
    np.maximum(part, 0.5 + 0.5 * lines[0][:, None, None] * lines[1][:, None] * lines[2], out=part)


def _tent(lower: int, upper: int) -> Hint:
    """1 in the middle, falling to nearly 0 at both ends."""
    offset = np.abs(np.arange(lower, upper) - (lower + upper - 1) / 2)
    tent: Hint = (1 - offset / ((upper - lower) / 2)).astype(np.float32)
    return tent
