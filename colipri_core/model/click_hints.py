"""What a user points at, as the maps that the click network reads: torch-free, shared by training and inference.

`previous` is the mask as it stands. `positive` and `negative` are places: a Gaussian around a point, 1 on scribbles,
lassos and (negative) boxes. `box` rises from a half at the faces of a positive box to 1 in its middle, so that the
object, which touches the faces, is told from the box's corners. `like_positive` and `like_negative` are what a place
floods: how alike to it the intensities stay on the best way from there, in steps. They give the network at once what
region growing knows, as geodesic distances do in DeepIGeoS (Wang et al., 2018), at a fraction of their cost. All are in
[0, 1]; the shapes are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK

HINTS = ("previous", "positive", "negative", "box", "like_positive", "like_negative")
"""Order of the maps in the network's input."""

Hint = npt.NDArray[np.float32]

POINT_SIGMA = 1.5
"""Width of the Gaussian that stands for a point, in voxels of the region."""

FLOOD_HU = (10.0, 400.0)
"""A flood falls from 1, where the way from its source stays this close to the source's intensity, to 0 (log scale)."""

FLOOD_LEVELS = 24
"""Steps in which it falls."""

CERTAIN = 0.5
"""From this value on a cell counts as pointed at."""

_REACH = 4 * POINT_SIGMA
_MOST_SOURCES = 32
_POSITIVE, _NEGATIVE = HINTS.index("positive"), HINTS.index("negative")
_LIKE = {True: HINTS.index("like_positive"), False: HINTS.index("like_negative")}


def empty_hints(size: int) -> Hint:
    """Return maps (H, X, Y, Z) that say nothing.

    Args:
        size: Edge of the region in voxels.
    """
    return np.zeros((len(HINTS), size, size, size), dtype=np.float32)


def smoothed(hu: Hint) -> Hint:
    """Return intensities smoothed by a binomial of three cells along each axis, against noise in floods.

    Args:
        hu: (X, Y, Z).
    """
    result = hu
    for axis in range(3):
        lines = np.moveaxis(np.pad(result, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge"), axis, 0)
        result = np.moveaxis(0.25 * lines[:-2] + 0.5 * lines[1:-1] + 0.25 * lines[2:], 0, axis)
    return np.ascontiguousarray(result, dtype=np.float32)


def place(hints: Hint, mark: Hint, smooth_hu: Hint, *, positive: bool) -> None:
    """Add what one prompt covers, and what it floods, in place; where it is certain, it takes back the other sign.

    Args:
        hints: Maps (H, X, Y, Z).
        mark: Map (X, Y, Z) of the prompt alone.
        smooth_hu: Intensities, as `smoothed` returns them.
        positive: Whether the places belong to the object.
    """
    own, other = (_POSITIVE, _NEGATIVE) if positive else (_NEGATIVE, _POSITIVE)
    np.maximum(hints[own], mark, out=hints[own])
    hints[other][mark > CERTAIN] = 0.0
    like = hints[_LIKE[positive]]
    np.maximum(like, flood(mark, smooth_hu), out=like)


def flood(mark: Hint, smooth_hu: Hint) -> Hint:
    """Return how alike to a prompt's places the intensities stay on the best way from there, in [0, 1].

    Args:
        mark: Map (X, Y, Z) of the prompt; its highest cells are the sources.
        smooth_hu: Intensities, as `smoothed` returns them.
    """
    highest = float(mark.max())
    if highest < CERTAIN:
        return np.zeros_like(smooth_hu)
    sources = np.argwhere(mark > 0.99 * highest)
    sources = sources[:: -(-len(sources) // _MOST_SOURCES)]
    at = tuple(sources.T)
    nearest, farthest = FLOOD_HU
    distance = np.abs(smooth_hu - smooth_hu[at].mean()).clip(nearest, farthest)
    alike = np.round(FLOOD_LEVELS * np.log(farthest / distance) / np.log(farthest / nearest)).astype(np.uint8)
    marker = np.zeros_like(alike)
    marker[at] = alike[at]
    reached = SimpleITK.ReconstructionByDilation(*(SimpleITK.GetImageFromArray(array) for array in (marker, alike)))
    result: Hint = SimpleITK.GetArrayViewFromImage(reached).astype(np.float32) / np.float32(FLOOD_LEVELS)
    return result


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
