"""Sub-volumes and their corruption: where they lie, what is read of a scan, and that every corruption does its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from einops import rearrange

from colipri_training.data import corruption
from colipri_training.data.corruption import Corruption
from colipri_training.data.corruption import corrupt
from colipri_training.data.prepared import Record
from colipri_training.data.variation import Variation
from colipri_training.data.variation import in_body
from colipri_training.data.views import Placed
from colipri_training.data.views import SubVolumes
from colipri_training.data.views import Views
from colipri_training.data.views import draw_views
from colipri_training.data.views import read_sub_volumes

SIZE = (32, 32, 32)
STILL = Variation(move=0.0, mirror=1.0)


def placed(shape: tuple[int, int, int] = (96, 96, 96)) -> Placed:
    record = Record(
        shape=shape,
        affine=tuple(np.eye(4).ravel()),
        body=tuple((4, size - 4) for size in shape),
        minimum_hu=-1000,
        source_sha256="",
        voxels_sha256="",
        fingerprint=(),
    )
    return Placed(record=record, size=SIZE, variation=STILL)


def air(start: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    del start
    return np.full(size, -1000, dtype=np.int16)


def half_tissue(start: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    """Tissue from the plane x = 48 on."""
    values = np.where(np.arange(start[0], start[0] + size[0]) >= 48, 40, -1000)
    return np.broadcast_to(values[:, None, None], size).astype(np.int16)


class TestPlaces:
    @pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 1.0])
    def test_overlap_is_kept_and_all_lie_in_the_body(self, overlap: float) -> None:
        shares = []
        for seed in range(40):
            first, *others = draw_views(air, placed(), Views(count=3, overlap=overlap, foreground=0.0), [seed])
            for view in (first, *others):
                assert all(4 <= start <= 92 - 32 for start in view.start)
            for view in others:
                offset = np.abs(np.subtract(view.start, first.start))
                shares.append(float(np.prod(np.clip(1 - offset / 32, 0, 1))))
        assert min(shares) >= overlap
        assert overlap == 1.0 or len(set(shares)) > 10

    def test_views_are_drawn_apart_and_again_the_same(self) -> None:
        views = Views(count=2, foreground=0.0)
        one, again, other = (draw_views(air, placed(), views, seed) for seed in ([1, 2], [1, 2], [1, 3]))
        assert one == again
        assert one != other
        assert one[0].start != one[1].start

    def test_foreground_is_looked_for_and_air_is_taken_if_there_is_nothing_else(self) -> None:
        plain, biased = (
            [
                draw_views(half_tissue, placed(), Views(count=1, foreground=share, tries=6), [seed])[0]
                for seed in range(40)
            ]
            for share in (0.0, 0.9)
        )
        shares = [
            np.mean([(half_tissue(view.start, SIZE) > -500).mean() for view in found]) for found in (plain, biased)
        ]
        assert shares[1] > shares[0] + 0.2
        assert len(draw_views(air, placed(), Views(count=2, foreground=0.5), [0])) == 2

    def test_none_is_mirrored(self) -> None:
        assert not any(view.is_mirrored for seed in range(20) for view in draw_views(air, placed(), Views(), [seed]))

    @pytest.mark.parametrize("values", [{"count": 0}, {"tries": 0}, {"overlap": 1.5}, {"foreground": -0.1}])
    def test_what_no_scan_can_have_is_refused(self, values: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="must be"):
            Views(**values)  # type: ignore[arg-type]


class TestReading:
    @pytest.mark.parametrize("slices", [64, 256])
    def test_what_is_read_does_not_grow_with_the_scan(self, slices: int) -> None:
        read: list[int] = []

        def counting(start: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
            read.append(int(np.prod(size)))
            return air(start, size)

        views = Views(count=2, foreground=0.5, tries=3)
        wanted = SubVolumes(views=views, corruption=Corruption())
        found = read_sub_volumes(
            counting,
            lambda change: torch.from_numpy(air(change.start, SIZE)).float() / 1000,
            placed((96, 96, slices)),
            wanted,
            [0],
        )
        assert found.images.shape == (3, *SIZE)
        assert sum(read) == 2 * 3 * 32**3

    def test_the_last_is_the_first_one_corrupted(self) -> None:
        def shown(change: object) -> torch.Tensor:
            generator = torch.Generator().manual_seed(hash(str(change)) % 1000)
            return torch.rand(SIZE, generator=generator) * 2 - 1

        both = read_sub_volumes(air, shown, placed(), SubVolumes(views=Views(), corruption=Corruption()), [5])
        clean = read_sub_volumes(air, shown, placed(), SubVolumes(views=Views()), [5])
        assert torch.equal(both.images[:2], clean.images)
        assert not torch.equal(both.images[2], both.images[0])
        assert both.images.abs().max() <= 1
        assert torch.equal(both.centres, clean.centres[[0, 1, 0]])

    def test_where_they_lie_is_told_by_the_body(self) -> None:
        record = dataclasses.replace(placed().record, body=((10, 51), (0, 64), (5, 6)))
        assert in_body(record, (10, 16, 0), (1, 32, 11)) == (-1.0, 0.0, 0.0)
        assert in_body(record, (50, 0, 5), (1, 127, 1)) == (1.0, 1.0, 0.0)


OFF = Corruption(shuffle=0.0, curve=0.0, paint=0.0)


def volume(seed: int = 0) -> torch.Tensor:
    return torch.rand(24, 24, 24, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class TestCorruption:
    def test_is_drawn_from_the_generator_alone_and_leaves_its_input(self) -> None:
        clean = volume()
        one, again, other = (corrupt(clean, Corruption(), np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert torch.equal(clean, volume())
        assert torch.equal(corrupt(clean, OFF, np.random.default_rng(0)), clean)

    def test_shuffling_moves_voxels_inside_blocks_only(self) -> None:
        options = dataclasses.replace(OFF, shuffle=1.0, shuffle_share=1.0, shuffle_edges=(4,))
        clean = volume()
        found = corrupt(clean, options, np.random.default_rng(0))
        fold = "(x p) (y q) (z r) -> (x y z) (p q r)"
        before, after = (rearrange(values, fold, p=4, q=4, r=4) for values in (clean, found))
        assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)
        assert (before != after).float().mean() > 0.9

    def test_a_share_of_the_blocks_is_shuffled(self) -> None:
        options = dataclasses.replace(OFF, shuffle=1.0, shuffle_share=0.25, shuffle_edges=(4,))
        changed = corrupt(volume(), options, np.random.default_rng(0)) != volume()
        assert 0.15 < changed.float().mean() < 0.35

    def test_the_curve_keeps_the_order_of_intensities(self) -> None:
        values = np.linspace(-1, 1, 101, dtype=np.float32)
        for seed in range(20):
            bent = corruption.curved(values, np.random.default_rng(seed))
            assert (np.diff(bent) >= 0).all()
            assert bent[[0, -1]] == pytest.approx([-1, 1], abs=1e-6)
        assert np.abs(bent - values).max() > 0.05

    @pytest.mark.parametrize(("outside", "low", "high"), [(False, 0.003, 0.3), (True, 0.3, 0.95)])
    def test_painting_hides_boxes_or_all_but_boxes(self, outside: bool, low: float, high: float) -> None:
        shares = []
        for seed in range(20):
            clean = volume(seed).numpy()
            found = corruption.painted(clean.copy(), Corruption(), np.random.default_rng(seed), outside=outside)
            shares.append(float((found != clean).mean()))
            assert np.abs(found).max() <= 1
        assert low < min(shares)
        assert max(shares) < high

    def test_a_chance_above_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"corruption\.paint must lie between 0 and 1"):
            Corruption(paint=1.2)
