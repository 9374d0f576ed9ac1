"""Regions: what the click network sees of a volume, and how its answer comes back to the volume's grid."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts import Crop
from colipri_core.prompts.regions import View
from colipri_core.prompts.regions import changed
from colipri_core.prompts.regions import paste
from colipri_core.prompts.regions import region_around
from colipri_core.prompts.regions import replaced
from colipri_core.prompts.regions import sample_hu
from colipri_core.prompts.regions import sample_mask
from colipri_core.volume import Volume


def ramp(spacing: tuple[float, float, float], shape: tuple[int, int, int] = (40, 36, 30)) -> Volume:
    """A volume whose HU are the world position along a slanted direction."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-20, 5, 7)
    places = VolumeGeometry(shape=shape, affine=affine).index_to_world(np.moveaxis(np.indices(shape), 0, -1))
    return Volume(voxels=(places @ (1.0, 2.0, -0.5)).astype(np.float32), affine=affine)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.9, 5.0), (3.0, 0.4, 2.0)])
@pytest.mark.parametrize("cell_mm", [0.8, 1.0, 1.9, 4.0])
def test_cells_have_the_intensity_of_their_place(spacing: tuple[float, float, float], cell_mm: float) -> None:
    view = View.of(ramp(spacing))
    region = region_around(view.geometry, (20, 18, 15), spacing_mm=cell_mm, size=8)

    cells = sample_hu(view, region)

    positions = np.moveaxis(np.indices((8, 8, 8)), 0, -1) * np.asarray(region.step) + region.lower
    inside = ((positions >= 1) & (positions <= np.asarray(view.geometry.shape) - 2)).all(axis=-1)
    expected = region.geometry(view.geometry).index_to_world(np.moveaxis(np.indices((8, 8, 8)), 0, -1)) @ (1, 2, -0.5)
    # Averaging two whole voxels may miss the middle of a cell by half a voxel along each axis.
    slack = 1e-3 if max(region.step) < 2 else 0.5 * float(np.abs((1, 2, -0.5)) @ spacing)
    assert inside.sum() > 10
    assert np.abs(cells - expected)[inside].max() <= slack


@pytest.mark.parametrize("orientation", ["LPS", "SAR", "PIR"])
def test_a_region_looks_the_same_however_the_axes_are_stored(orientation: str) -> None:
    volume = ramp((0.8, 1.1, 2.5))
    views = [View.of(volume), View.of(volume.reoriented(orientation))]

    looks = [sample_hu(v, region_around(v.geometry, (11.3, 20.7, 12.2), spacing_mm=1.3, size=16)) for v in views]

    assert np.array_equal(*looks)


def test_a_region_beyond_the_volume_repeats_its_outer_voxels() -> None:
    view = View.of(ramp((1.0, 1.0, 1.0), shape=(40, 40, 4)))
    region = region_around(view.geometry, (20, 20, 2), spacing_mm=1.0, size=16)

    cells = sample_hu(view, region)

    assert np.array_equal(cells[:, :, 0], cells[:, :, 3])
    assert np.array_equal(np.diff(cells[0, 0]) != 0, np.array([False] * 6 + [True] * 3 + [False] * 6))


def test_a_region_is_moved_into_the_volume() -> None:
    geometry = ramp((1.0, 1.0, 1.0)).geometry

    region = region_around(geometry, (0, 35, 15), spacing_mm=1.0, size=16)

    assert region.lower == (0, 20, pytest.approx(7.5, abs=0.5))
    assert all(float(lower).is_integer() for lower in region.lower)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.6, 4.0), (2.5, 1.5, 2.0)])
def test_a_mask_goes_to_cells_and_comes_back(spacing: tuple[float, float, float]) -> None:
    view = View.of(ramp(spacing, shape=(60, 60, 24)))
    places = view.geometry.index_to_world(np.moveaxis(np.indices(view.geometry.shape), 0, -1))
    ball = Crop.around(np.linalg.norm(places - view.geometry.center, axis=-1) < 12)
    middle = (np.asarray(view.geometry.shape) - 1) / 2
    region = region_around(view.geometry, middle.tolist(), spacing_mm=1.0, size=40)

    cells = sample_mask(ball, region, view.geometry.shape)
    back = paste(cells.astype(np.float32), region, view.geometry)

    both = np.logical_and(ball.on_grid(view.geometry.shape), back.on_grid(view.geometry.shape)).sum()
    assert 2 * both / (ball.mask.sum() + back.mask.sum()) > 0.96


def test_nothing_is_pasted_for_low_probabilities() -> None:
    view = View.of(ramp((1.0, 1.0, 1.0)))
    region = region_around(view.geometry, (20, 18, 15), spacing_mm=1.0, size=16)

    assert paste(np.full((16, 16, 16), 0.5, dtype=np.float32), region, view.geometry).is_empty


def test_a_place_is_taken_over_and_the_rest_stays() -> None:
    shape = (10, 10, 10)
    before, answer, place = (np.random.default_rng(seed).random(shape) < 0.3 for seed in range(3))
    place[:, :, 5:] = False
    expected = np.where(place, answer, before)

    merged = replaced(Crop.around(before), Crop.around(answer), Crop.around(place))

    assert np.array_equal(merged.on_grid(shape), expected)
    gone = replaced(Crop.around(before), Crop.empty(), Crop.around(place))
    assert np.array_equal(gone.on_grid(shape), before & ~place)
    assert replaced(Crop.empty(), Crop.around(answer), Crop.empty()).is_empty


def test_voxels_are_set_and_cleared() -> None:
    mask, other = np.zeros((6, 6, 6), dtype=bool), np.zeros((6, 6, 6), dtype=bool)
    mask[1:3], other[2:5, 3] = True, True

    for value, expected in ((True, mask | other), (False, mask & ~other)):
        result = changed(Crop.around(mask), Crop.around(other), value=value)
        assert np.array_equal(result.on_grid((6, 6, 6)), expected)


def test_a_wide_look_copies_no_volume() -> None:
    volume = Volume(voxels=np.zeros((512, 512, 300), dtype=np.int16), affine=np.diag([0.7, 0.7, 1.0, 1.0]))
    view = View.of(volume)
    tracemalloc.start()

    sample_hu(view, region_around(view.geometry, (256, 256, 150), spacing_mm=4.0, size=64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < volume.voxels.nbytes / 4
