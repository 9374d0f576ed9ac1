"""Which of several outlines holds most of what a phrase is seen by, on grids that differ."""

from __future__ import annotations

import numpy as np
import pytest

from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts import Crop
from colipri_core.prompts.attention import Attention

COARSE = VolumeGeometry(shape=(10, 10, 10), affine=np.diag([4.0, 4.0, 4.0, 1.0]))
FINE = VolumeGeometry(
    shape=(40, 40, 40), affine=np.diag([-1.0, -1.0, 1.0, 1.0]) + np.outer([39, 39, 0, 0], [0, 0, 0, 1])
)


def seen() -> Attention:
    influence = np.zeros(COARSE.shape, dtype=np.float32)
    influence[2:4, 2:4, 2:4] = 1.0
    influence[7, 7, 7] = 2.0
    return Attention(text="a", places=((1.0, 0, 0), (2.0, 0, 0)), influence=influence, geometry=COARSE)


def outline(lower: tuple[float, float, float], upper: tuple[float, float, float]) -> Crop:
    """A box in mm on the fine grid, whose first two axes run backwards."""
    axes = [FINE.index_to_world(np.eye(3)[axis] * np.arange(40)[:, None])[:, axis] for axis in range(3)]
    inside = [(at >= a) & (at <= b) for at, a, b in zip(axes, lower, upper, strict=True)]
    return Crop.around(inside[0][:, None, None] & inside[1][:, None] & inside[2])


def test_the_outline_of_most_of_it_holds_more_than_of_a_part_or_of_far_too_much() -> None:
    whole = seen().held(outline((6, 6, 6), (14, 14, 14)), FINE)
    assert whole > seen().held(outline((6, 6, 6), (14, 14, 9)), FINE) > 0
    assert whole > seen().held(outline((0, 0, 0), (39, 39, 39)), FINE)


def test_the_share_is_over_the_root_of_the_volume() -> None:
    mask = outline((6, 6, 6), (14, 14, 14))
    assert seen().held(mask, FINE) == pytest.approx(8 / 10 / np.sqrt(mask.mask.sum()))


def test_what_lies_elsewhere_holds_nothing() -> None:
    assert seen().held(outline((20, 6, 6), (24, 9, 9)), FINE) == 0.0
    assert seen().held(Crop.empty(), FINE) == 0.0


def test_another_place_can_come_first() -> None:
    assert seen().beginning_with(1).places == ((2.0, 0, 0), (1.0, 0, 0))
