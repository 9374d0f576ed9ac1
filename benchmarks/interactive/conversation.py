"""A simulated user who clicks until the count is reached, always at the deepest point of the largest error."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from colipri_core.prompts import Crop
from colipri_core.prompts import Point
from colipri_core.prompts.crop import bounding_box
from colipri_training.clicks.user import deepest_point
from colipri_training.clicks.user import largest_error
from interactive.objects import Target

Answer = Callable[[list[Point], Crop | None], Crop]


def converse(target: Target, answer: Answer, *, clicks: int) -> tuple[list[float], list[float]]:
    """Return Dice and seconds after each click; once nothing is wrong, the figures are repeated.

    Args:
        target: What the user means.
        answer: The method: all clicks and the mask before to the mask.
        clicks: How many.
    """
    points = [_click(target, target.mask, positive=True)]
    shown: Crop | None = None
    dices: list[float] = []
    seconds: list[float] = []
    while len(dices) < clicks:
        started = time.perf_counter()
        shown = answer(points, shown)
        seconds.append(time.perf_counter() - started)
        mask = shown.on_grid(target.volume.shape)
        dices.append(float(2 * (mask & target.mask).sum() / (mask.sum() + target.mask.sum())))
        error = _error(target, mask)
        if error is None:
            break
        points = [*points, error]
        shown = None if shown.is_empty else shown
    missing = clicks - len(dices)
    return dices + missing * dices[-1:], seconds


def _error(target: Target, mask: np.ndarray) -> Point | None:
    box = bounding_box(mask | target.mask)
    assert box is not None, "an object has voxels"
    found = largest_error(target.mask[box], mask[box])
    if found is None:
        return None
    wrong = np.zeros(mask.shape, dtype=bool)
    wrong[box] = found[0]
    return _click(target, wrong, positive=found[1])


def _click(target: Target, part: np.ndarray, *, positive: bool) -> Point:
    r, a, s = target.volume.geometry.index_to_world(deepest_point(part, target.volume.spacing))
    return Point(ras=(float(r), float(a), float(s)), positive=positive)
