"""The simulated user: where it clicks, scribbles or draws a box, given what it means and what the model shows.

The first prompt lies in the object; every later one in the largest connected error, positive where the model missed
and negative where it leaked. Mostly the click is the deepest point of the error, which people aim at; at random it is
another point well inside, a stroke, or a box, so that the model does not rely on perfect clicks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from colipri_core.model.click_hints import HINTS
from colipri_core.model.click_hints import Hint
from colipri_core.model.click_hints import paint_box
from colipri_core.model.click_hints import paint_point
from colipri_core.model.click_hints import place
from colipri_core.model.click_hints import smoothed
from colipri_core.prompts.crop import bounding_box
from colipri_training.clicks.shapes import Mask
from colipri_training.clicks.shapes import Position

_BOX = HINTS.index("box")
_DEEPEST = 0.6
_SCRIBBLE = 0.15
_FIRST_BOX = 0.15
_STROKE_SAMPLES = 2


def first_prompt(rng: np.random.Generator, hints: Hint, target: Mask, hu: Hint) -> None:
    """Point at an object, in place in its hints.

    Args:
        rng: Source of randomness.
        hints: Maps (H, X, Y, Z) of `click_hints.HINTS`.
        target: The object.
        hu: Intensities.
    """
    if rng.random() < _FIRST_BOX:
        _draw_box(rng, hints[_BOX], target)
        if rng.random() < 0.5:
            return
    place(hints, _mark(rng, target), smoothed(hu), positive=True)


def correct(rng: np.random.Generator, hints: Hint, target: Mask, *, shown: Mask, hu: Hint) -> None:
    """Point at the largest error, in place in its hints; nothing if there is none.

    Args:
        rng: Source of randomness.
        hints: Maps (H, X, Y, Z) of `click_hints.HINTS`.
        target: The object.
        shown: What the model shows.
        hu: Intensities.
    """
    error = largest_error(target, shown)
    if error is None:
        return
    part, missed = error
    place(hints, _mark(rng, part), smoothed(hu), positive=missed)


def largest_error(target: Mask, shown: Mask) -> tuple[Mask, bool] | None:
    """Return the largest connected part of what was missed or leaked, and whether it was missed; None without error.

    Args:
        target: The object.
        shown: What the model shows.
    """
    best, best_size, best_missed = None, 0, False
    for missed, wrong in ((True, target & ~shown), (False, shown & ~target)):
        numbered, count = ndimage.label(wrong)
        if count:
            sizes = np.bincount(numbered.ravel())[1:]
            if sizes.max() > best_size:
                best, best_size, best_missed = numbered == int(sizes.argmax()) + 1, int(sizes.max()), missed
    return None if best is None else (best, best_missed)


def depth_inside(mask: Mask, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Return the distance to the outside of a mask on its bounding box, and that box; the grid's end is outside too.

    Args:
        mask: bool (X, Y, Z), not empty.
        spacing: Of the voxels; distances have its unit.
    """
    box = bounding_box(mask)
    assert box is not None, "the mask must not be empty"
    depth = ndimage.distance_transform_edt(np.pad(mask[box], 1), sampling=spacing)
    return depth[1:-1, 1:-1, 1:-1], box


def deepest_point(mask: Mask, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Position:
    """Return the voxel that lies farthest inside a mask.

    Args:
        mask: bool (X, Y, Z), not empty.
        spacing: Of the voxels.
    """
    depth, box = depth_inside(mask, spacing)
    at = np.unravel_index(int(depth.argmax()), depth.shape)
    return np.array([part.start + index for part, index in zip(box, at, strict=True)], dtype=np.float64)


def _mark(rng: np.random.Generator, part: Mask) -> Hint:
    """Click on a part, or draw a stroke in it; returns the map of that alone."""
    hint = np.zeros(part.shape, dtype=np.float32)
    depth, box = depth_inside(part)
    start = np.array([side.start for side in box], dtype=np.float64)
    draw = rng.random()
    if draw < _SCRIBBLE:
        stroke = [start + _well_inside(rng, depth) for _ in range(_STROKE_SAMPLES)]
        _paint_stroke(hint, part, stroke[0], stroke[1])
        return hint
    deepest = np.asarray(np.unravel_index(int(depth.argmax()), depth.shape), dtype=np.float64)
    at = deepest if draw < _SCRIBBLE + _DEEPEST else _well_inside(rng, depth)
    paint_point(hint, start + at + rng.uniform(-0.4, 0.4, 3))
    return hint


def _well_inside(rng: np.random.Generator, depth: np.ndarray) -> Position:
    """A random voxel that lies at least a third as deep as the deepest."""
    candidates = np.flatnonzero(depth >= depth.max() / 3)
    return np.asarray(np.unravel_index(int(rng.choice(candidates)), depth.shape), dtype=np.float64)


def _paint_stroke(hint: Hint, part: Mask, start: Position, stop: Position) -> None:
    """Set the voxels of a part along a line, with their neighbours."""
    line = np.round(np.linspace(start, stop, 1 + int(2 * np.linalg.norm(stop - start)))).astype(int)
    drawn = np.zeros_like(part)
    drawn[tuple(line.T)] = True
    drawn &= part
    drawn |= ndimage.binary_dilation(drawn) & part
    hint[drawn] = 1.0


def _draw_box(rng: np.random.Generator, hint: Hint, target: Mask) -> None:
    """Draw a loose box around an object, at times only around its largest cut in one plane."""
    mask = target
    if rng.random() < 0.5:
        axis = int(rng.integers(3))
        plane = int(target.sum(axis=tuple(other for other in range(3) if other != axis)).argmax())
        mask = np.zeros_like(target)
        cut = tuple(plane if other == axis else slice(None) for other in range(3))
        mask[cut] = target[cut]
    box = bounding_box(mask)
    assert box is not None, "an object has voxels"
    flat = [side.stop - side.start == 1 for side in box]
    lower = [max(0, s.start - (0 if f else int(rng.integers(0, 3)))) for s, f in zip(box, flat, strict=True)]
    upper = [
        min(size, s.stop + (0 if f else int(rng.integers(0, 3))))
        for s, f, size in zip(box, flat, target.shape, strict=True)
    ]
    paint_box(hint, lower, upper)
