"""Borders of answers: those to air lie at half, however blurred; pieces of something larger are told from wholes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from colipri_core.inference.borders import seen_around
from colipri_core.inference.borders import to_air

SIZE = 48
LUNG, NODULE, WALL = -850.0, 60.0, 50.0


def ball(radius: float, centre: tuple[float, float, float] = (23.5, 23.5, 23.5)) -> np.ndarray:
    grid = np.indices((SIZE,) * 3).reshape(3, -1).T - centre
    return (np.linalg.norm(grid, axis=1) <= radius).reshape((SIZE,) * 3)


def blurred(mask: np.ndarray, inside: float, outside: float, sigma: float) -> np.ndarray:
    clean = ndimage.gaussian_filter(np.where(mask, inside, outside), sigma)
    return (clean + np.random.default_rng(0).normal(0, 15, clean.shape)).astype(np.float32)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


NOWHERE = np.zeros((SIZE,) * 3, dtype=bool)


@pytest.mark.parametrize("sigma", [0.7, 1.5, 2.0])
@pytest.mark.parametrize("inside", [NODULE, LUNG])
def test_an_answer_that_stops_early_reaches_the_half(sigma: float, inside: float) -> None:
    truth = ball(8)
    outside = LUNG if inside == NODULE else NODULE
    hu = blurred(truth, inside, outside, sigma)
    early = ball(6.5)
    found = to_air(early, hu, forbidden=NOWHERE)
    half = ndimage.gaussian_filter(truth.astype(np.float32), sigma) > 0.5
    assert dice(early, half) < 0.8
    assert dice(found, half) > 0.93


def test_it_stays_out_of_a_wall_the_nodule_touches() -> None:
    truth, wall = ball(8), np.indices((SIZE,) * 3)[0] > 30
    hu = blurred(truth | wall, NODULE, LUNG, 1.0)
    found = to_air(ball(7) & ~wall, hu, forbidden=NOWHERE)
    assert dice(found, truth & ~wall) > 0.9
    assert (found & wall).sum() < 0.05 * found.sum()


def test_what_does_not_lie_in_air_stays_as_it_is() -> None:
    early = ball(6.5)
    for inside, outside in ((120.0, -90.0), (NODULE, WALL)):
        assert to_air(early, blurred(ball(8), inside, outside, 1.5), forbidden=NOWHERE) is early
    assert to_air(NOWHERE, blurred(ball(8), NODULE, LUNG, 1.5), forbidden=NOWHERE) is NOWHERE


def test_cells_that_are_forbidden_are_not_added() -> None:
    forbidden = np.indices((SIZE,) * 3)[2] < 20
    early = ball(6.5)
    found = to_air(early, blurred(ball(8), NODULE, LUNG, 1.5), forbidden=forbidden)
    assert not (found & ~early & forbidden).any()
    assert (found & ~early & ~forbidden).any()


def test_a_whole_is_bounded_and_a_piece_is_not() -> None:
    hu = blurred(ball(14), 120.0, 40.0, 1.0)
    assert seen_around(ball(14), hu) > 0.9
    assert seen_around(ball(6), hu) < 0.1
    half = ball(13) & (np.indices((SIZE,) * 3)[0] > 23)
    assert 0.4 < seen_around(half, hu) < 0.9
    assert seen_around(NOWHERE, hu) == 0.0
    assert seen_around(~NOWHERE, hu) == 0.0
