"""Random walks from what was pointed at: an exact solution, walls, leaks, slow changes and negative places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colipri_core.model import walk
from colipri_core.model.click_config import ClickNetworkConfig
from colipri_core.model.click_hints import HINTS
from colipri_core.model.click_hints import flood
from colipri_core.model.click_hints import paint_point
from colipri_core.model.click_network import ClickNetwork
from colipri_core.model.walk import homecoming

SIZE = 24
MIDDLE = (12, 12, 12)
SCALES = (8.0, 25.0)


def at(*places: tuple[int, int, int], size: int = SIZE) -> torch.Tensor:
    mask = torch.zeros(1, size, size, size, dtype=torch.bool)
    for x, y, z in places:
        mask[0, x, y, z] = True
    return mask


def ball(radius: float) -> np.ndarray:
    grid = np.indices((SIZE,) * 3) - 12
    return np.asarray((grid**2).sum(axis=0) <= radius**2)


def walked(hu: np.ndarray, positive: torch.Tensor | None = None, negative: torch.Tensor | None = None) -> torch.Tensor:
    """(S, X, Y, Z)."""
    image = torch.from_numpy(hu.astype(np.float32))[None]
    size = hu.shape[0]
    home = at(MIDDLE) if positive is None else positive
    return homecoming(image, home, at(size=size) if negative is None else negative, SCALES)[0]


class TestHomecoming:
    def test_is_the_chance_that_the_walk_s_equations_give(self) -> None:
        rng = np.random.default_rng(0)
        size = 5
        hu = rng.normal(0, 20, (size,) * 3).astype(np.float32)
        home, lost = at((2, 2, 2), size=size), at((0, 4, 1), (4, 0, 0), size=size)

        found = walked(hu, home, lost)

        for chance, scale in zip(found, SCALES, strict=True):
            expected = _solved(hu, home[0].numpy(), lost[0].numpy(), scale)
            np.testing.assert_allclose(chance.numpy(), expected, atol=2e-4)

    def test_falls_off_evenly_where_everything_is_alike(self) -> None:
        chance = walked(np.zeros((SIZE,) * 3))[0]

        line = chance[12, 12, 12:]
        assert line[0] == 1
        assert (line.diff() < 0).all()
        torch.testing.assert_close(chance[12, 12, 15], chance[15, 12, 12])
        torch.testing.assert_close(chance[12, 12, 15], chance[12, 9, 12], rtol=0.05, atol=0)

    def test_edges_hold_it_back(self) -> None:
        chance = walked(np.where(ball(6), 50.0, -100.0))

        for each in chance:
            assert each[17, 12, 12] > 20 * each[19, 12, 12]

    def test_a_leak_of_one_cell_drains_little_where_a_flood_passes_whole(self) -> None:
        hu = np.full((SIZE,) * 3, 40.0)
        hu[16] = -90.0
        hu[16, 12, 12] = 40.0
        mark = np.zeros(hu.shape, dtype=np.float32)
        paint_point(mark, MIDDLE)

        before, behind = (14, 12, 12), (20, 6, 6)

        flooded = flood(mark, hu.astype(np.float32))
        chance = walked(hu)[0]
        assert flooded[behind] == flooded[before] == 1
        assert chance[behind] < 0.1 * chance[8, 6, 6]

    def test_follows_slow_changes_where_a_flood_ends(self) -> None:
        hu = np.broadcast_to(np.linspace(0, 160, SIZE)[:, None, None], (SIZE,) * 3).copy()
        mark = np.zeros(hu.shape, dtype=np.float32)
        paint_point(mark, (2, 12, 12))

        flooded = flood(mark, hu.astype(np.float32))
        chance, even = (walked(each, at((2, 12, 12)))[1] for each in (hu, np.zeros_like(hu)))
        assert flooded[21, 12, 12] < 0.5
        assert chance[21, 12, 12] > 0.4 * even[21, 12, 12]

    def test_negative_places_take_what_is_nearer_to_them(self) -> None:
        hu = np.zeros((SIZE,) * 3)
        alone, with_other = walked(hu)[0], walked(hu, negative=at((18, 12, 12)))[0]

        assert with_other[18, 12, 12] == 0
        assert (with_other <= alone + 1e-6).all()
        assert with_other[17, 12, 12] < 0.7 * alone[17, 12, 12]
        assert with_other[12, 12, 11] > 0.9 * alone[12, 12, 11]

    def test_no_place_no_chance(self) -> None:
        assert not walked(np.zeros((SIZE,) * 3), at()).any()

    def test_each_of_a_batch_is_on_its_own(self) -> None:
        rng = np.random.default_rng(1)
        hu = torch.from_numpy(rng.normal(0, 30, (2, SIZE, SIZE, SIZE)).astype(np.float32))
        home, lost = torch.cat([at(MIDDLE), at((3, 4, 5))]), torch.cat([at(), at((9, 9, 9))])

        both = homecoming(hu, home, lost, SCALES)

        for number in (0, 1):
            alone = homecoming(*(each[number : number + 1] for each in (hu, home, lost)), SCALES)
            torch.testing.assert_close(both[number], alone[0], rtol=1e-3, atol=1e-5)

    def test_stays_finite_on_the_worst_of_images(self) -> None:
        rng = np.random.default_rng(2)
        hu = np.where(rng.random((SIZE,) * 3) < 0.5, -400.0, 600.0)

        chance = walked(hu)

        assert torch.isfinite(chance).all()
        assert chance.min() >= 0
        assert chance.max() == 1


def _solved(hu: np.ndarray, home: np.ndarray, lost: np.ndarray, scale: float) -> np.ndarray:
    """The same chances from a dense system of linear equations."""
    cells = hu.size
    number = np.arange(cells).reshape(hu.shape)
    steps = np.zeros((cells, cells))
    for axis in range(3):
        low = number.take(range(hu.shape[axis] - 1), axis=axis).ravel()
        high = number.take(range(1, hu.shape[axis]), axis=axis).ravel()
        weight = 1 / (1 + ((hu.ravel()[high] - hu.ravel()[low]) / scale) ** 2) ** 2
        steps[low, high] = steps[high, low] = weight
    system = np.diag(steps.sum(axis=1) + walk.LOST) - steps
    right = np.zeros(cells)
    for mask, value in ((home, 1.0), (lost, 0.0)):
        for cell in number[mask]:
            system[cell], right[cell] = 0, value
            system[cell, cell] = 1
    return np.linalg.solve(system, right).reshape(hu.shape)


class TestTheNetworkIsShownWalks:
    @pytest.fixture
    def network(self) -> ClickNetwork:
        return ClickNetwork(ClickNetworkConfig(channels=4, levels=1, widest=8, walks_hu=SCALES)).eval()

    @pytest.fixture
    def hu(self) -> torch.Tensor:
        return torch.from_numpy(np.where(ball(6), 50.0, -100.0).astype(np.float32))[None, None]

    def hints(self, **maps: tuple[float, float, float]) -> torch.Tensor:
        hints = np.zeros((len(HINTS), SIZE, SIZE, SIZE), dtype=np.float32)
        for name, place in maps.items():
            paint_point(hints[HINTS.index(name)], place)
        return torch.from_numpy(hints)[None]

    def test_from_a_click(self, network: ClickNetwork, hu: torch.Tensor) -> None:
        chance = network._walks(hu, self.hints(positive=(12, 12, 12)))

        assert chance.shape == (1, 4, 12, 12, 12)
        assert chance.min() >= 0
        assert chance.max() == 1
        assert chance[0, 0, 6, 6, 8] > 20 * chance[0, 0, 6, 6, 10]
        assert chance[0, 2, 6, 6, 8] > chance[0, 2, 6, 6, 10] + 0.2

    def test_from_the_middle_of_a_box_without_a_click(self, network: ClickNetwork, hu: torch.Tensor) -> None:
        boxed, clicked = (self.hints(**maps) for maps in ({}, {"positive": (4.0, 4.0, 4.0)}))
        for hints in (boxed, clicked):
            hints[:, HINTS.index("box"), 11:14, 11:14, 11:14] = 1.0

        assert network._walks(hu, boxed)[0, 0, 6, 6, 6] == 1
        assert network._walks(hu, clicked)[0, 0, 6, 6, 6] < 0.1

    def test_nothing_pointed_at_shows_nothing(self, network: ClickNetwork, hu: torch.Tensor) -> None:
        assert not network._walks(hu, self.hints(negative=(12.0, 12.0, 12.0))).any()

    def test_a_network_without_walks_has_none(self, hu: torch.Tensor) -> None:
        plain = ClickNetwork(ClickNetworkConfig(channels=4, levels=1, widest=8, walks_hu=())).eval()

        inputs = plain.stem.conv1.conv.in_channels
        assert inputs == 8 * (3 + len(HINTS))
        assert plain(hu, self.hints(positive=(12, 12, 12))).shape == hu.shape
