"""Volume to model grid and back: grid rules, padding, and world positions on every kind of affine."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from geometry_strategies import affines
from geometry_strategies import corners
from geometry_strategies import geometries
from geometry_strategies import orientations
from geometry_strategies import ramp
from hypothesis import given
from hypothesis import strategies as st

from colipri_core.geometry import VolumeGeometry
from colipri_core.preprocess import field_of_view_warnings
from colipri_core.preprocess import map_to_source
from colipri_core.preprocess import model_grid
from colipri_core.preprocess import prepare
from colipri_core.preprocess import token_geometry
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.volume import Volume

WIDE = (-4000.0, 4000.0)


def spec(size: int = 32, **changes) -> PreprocessSpec:
    return dataclasses.replace(PreprocessSpec(size=(size, size, size)), **changes)


def in_units(array: np.ndarray, window: tuple[float, float] = WIDE) -> np.ndarray:
    """Undo clamping's scale: [-1, 1] back to the window."""
    low, high = window
    return (array.astype(np.float64) + 1) / 2 * (high - low) + low


def blob(geometry: VolumeGeometry, center: np.ndarray, sigma_mm: float) -> np.ndarray:
    indices = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    squares = ((geometry.index_to_world(indices) - center) ** 2).sum(axis=-1)
    return np.exp(-squares / (2 * sigma_mm**2)).astype(np.float32)


def centroid(values: np.ndarray, geometry: VolumeGeometry) -> np.ndarray:
    weights = np.clip(np.nan_to_num(values.astype(np.float64)), 0, None)
    indices = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    return (geometry.index_to_world(indices) * weights[..., None]).sum(axis=(0, 1, 2)) / weights.sum()


class TestGrid:
    def test_published_sizes(self):
        affine = np.diag([-0.703125, -0.703125, 2.5, 1])
        grid = model_grid(VolumeGeometry(shape=(512, 512, 139), affine=affine), PreprocessSpec())
        assert grid.resampled.shape == (180, 180, 173)
        assert grid.final.shape == (192, 192, 192)
        assert grid.start == (-6, -6, -10)
        assert grid.resampled.orientation == grid.final.orientation == "RAS"

    def test_odd_remainders_go_to_the_start(self):
        grid = model_grid(VolumeGeometry(shape=(37, 27, 32), affine=np.diag([2.0, 2, 2, 1])), spec(32))
        assert grid.start == (3, -3, 0)

    def test_thin_volumes_keep_a_voxel(self):
        grid = model_grid(VolumeGeometry(shape=(2, 1, 9), affine=np.diag([0.5, 9, 2, 1])), spec(8))
        assert grid.resampled.shape == (1, 1, 9)

    @given(
        st.floats(0, 2 * np.pi),
        st.permutations(range(3)),
        st.tuples(*[st.sampled_from((-1, 1))] * 3),
        st.floats(-1e-7, 1e-7),
    )
    def test_rounding_of_an_affine_does_not_move_the_grid(self, angle, order, signs, rounding):
        """128 voxels of 3 mm are 192 of 2 mm, however the scan is turned and whatever a file did to the last bits."""
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        affine = np.eye(4)
        affine[:3, :3] = (turn @ np.eye(3)[:, order] * np.array(signs) * 3.0 * (1 + rounding)).astype(np.float32)
        assert model_grid(VolumeGeometry(shape=(128, 128, 128), affine=affine), spec(32)).resampled.shape == (192,) * 3

    @given(geometries(largest=60), orientations)
    def test_the_volume_stays_in_the_middle(self, geometry, orientation):
        grid = model_grid(geometry, spec(32, orientation=orientation))
        np.testing.assert_allclose(grid.resampled.center, geometry.center, atol=1e-6)
        assert np.abs(grid.final.center - geometry.center).max() <= 2 * np.sqrt(3)
        assert grid.resampled.spacing == pytest.approx((2, 2, 2))

    @given(geometries(largest=40))
    def test_the_inner_part_is_where_the_volume_is(self, geometry):
        grid = model_grid(geometry, spec(16))
        indices = corners(grid.final)
        inside = [part.start <= i < part.stop for index in indices for i, part in zip(index, grid.inner, strict=True)]
        resampled = grid.resampled.world_to_index(grid.final.index_to_world(indices))
        expected = (resampled > -0.5) & (resampled < np.asarray(grid.resampled.shape) - 0.5)
        np.testing.assert_array_equal(np.reshape(inside, (-1, 3)), expected)


class TestValues:
    @given(geometries(smallest=8, largest=40), orientations, st.sampled_from(["C", "F"]))
    def test_a_ramp_over_the_world_stays_that_ramp(self, geometry, orientation, order):
        """Linear interpolation is exact on a linear function, wherever its axes point."""
        values = ramp(geometry)
        volume = Volume(voxels=np.asarray(values, order=order), affine=geometry.affine)
        wide = spec(24, orientation=orientation, intensity_window=WIDE, padding=-1.0)
        prepared = prepare(volume, wide)
        indices = np.stack(np.meshgrid(*map(np.arange, prepared.geometry.shape), indexing="ij"), axis=-1)
        places = geometry.world_to_index(prepared.geometry.index_to_world(indices))
        inside = ((places >= 0) & (places <= np.asarray(geometry.shape) - 1)).all(axis=-1)
        expected = ramp(prepared.geometry)
        # float32 resolves 8000 units to about 5e-4 of one
        np.testing.assert_allclose(in_units(prepared.array)[inside], expected[inside], atol=5e-3)

    @given(affines(), st.tuples(*[st.floats(-8, 8)] * 3))
    def test_a_blob_keeps_its_place_there_and_back(self, affine, shift):
        unit = affine.copy()
        unit[:3, :3] = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0) * (1.3, 2.1, 2.9)
        geometry = VolumeGeometry(shape=(48, 30, 22), affine=unit)
        center = geometry.center + np.asarray(shift)
        volume = Volume(voxels=blob(geometry, center, 6.0), affine=unit)
        prepared = prepare(volume, spec(32, intensity_window=(0.0, 1.0), padding=-1.0))
        there = in_units(prepared.array, (0.0, 1.0))
        np.testing.assert_allclose(centroid(there, prepared.geometry), center, atol=0.2)
        back = map_to_source(there, prepared.geometry, prepared.source)
        np.testing.assert_allclose(centroid(back, geometry), center, atol=0.2)
        assert back.shape == geometry.shape

    def test_window_and_range(self):
        values = np.linspace(-2000, 2000, 16**3).reshape(16, 16, 16).astype(np.float32)
        prepared = prepare(Volume(voxels=values, affine=np.diag([2.0, 2, 2, 1])), spec(16))
        np.testing.assert_allclose(prepared.array, np.clip(values, -1000, 1000) / 1000, atol=1e-6)
        assert prepared.array.dtype == np.float32
        assert prepared.array.flags.c_contiguous

    @pytest.mark.parametrize(("padding", "expected"), [("minimum", -0.3), (-1.0, -1.0), (0.25, 0.25)])
    def test_padding(self, padding, expected):
        values = np.full((8, 8, 8), 500, dtype=np.int16)
        values[0, 0, 0] = -300
        prepared = prepare(Volume(voxels=values, affine=np.diag([2.0, 2, 2, 1])), spec(16, padding=padding))
        assert prepared.array[0, 0, 0] == pytest.approx(expected)
        np.testing.assert_allclose(prepared.array[4:12, 4:12, 4:12], values / 1000, atol=1e-6)

    def test_minimum_padding_counts_what_the_crop_cut_off(self):
        values = np.full((40, 8, 8), 500, dtype=np.int16)
        values[0, 0, 0] = -300
        prepared = prepare(Volume(voxels=values, affine=np.diag([2.0, 2, 2, 1])), spec(16))
        assert prepared.array[:, 4:12, 4:12].min() == pytest.approx(0.5)
        assert prepared.array[0, 0, 0] == pytest.approx(-0.3)

    def test_integers_are_interpolated_without_loss_unless_truncation_is_asked_for(self):
        values = np.broadcast_to(np.arange(8, dtype=np.int16)[:, None, None] * 5, (8, 8, 8))
        shifted = Volume(voxels=values, affine=np.diag([1.5, 2, 2, 1]))
        exact = prepare(shifted, spec(8)).array * 1000
        truncated = prepare(shifted, spec(8, integer_truncation=True)).array * 1000
        assert not np.allclose(exact, np.round(exact), atol=1e-3)
        np.testing.assert_allclose(truncated, np.trunc(exact + 1e-3), atol=1e-3)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2"])
    def test_voxel_types(self, dtype):
        values = np.random.default_rng(0).integers(0, 200, (9, 10, 11))
        expected = prepare(Volume(voxels=values.astype(np.float32), affine=np.diag([1.0, 2, 3, 1])), spec(8)).array
        found = prepare(Volume(voxels=values.astype(dtype), affine=np.diag([1.0, 2, 3, 1])), spec(8)).array
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_the_volume_is_not_changed(self):
        values = np.random.default_rng(0).normal(0, 500, (9, 10, 11)).astype(np.float32)
        before = values.copy()
        prepare(Volume(voxels=values, affine=np.diag([2.0, 2, 2, 1])), spec(16))
        np.testing.assert_array_equal(values, before)

    @pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
    def test_views_with_negative_steps(self, flip):
        values = np.random.default_rng(0).integers(-1000, 1000, (9, 10, 11)).astype(np.int16)
        view = values[:: flip[0], :: flip[1], :: flip[2]]
        affine = np.diag([1.5, 2, 3, 1])
        found = prepare(Volume(voxels=view, affine=affine), spec(16))
        expected = prepare(Volume(voxels=view.copy(), affine=affine), spec(16))
        np.testing.assert_allclose(found.array, expected.array, atol=1e-6)


class TestTokens:
    @given(geometries(largest=30))
    def test_patch_centres(self, geometry):
        grid = model_grid(geometry, spec(16)).final
        tokens = token_geometry(grid, 8)
        assert tokens.shape == (2, 2, 2)
        np.testing.assert_allclose(tokens.index_to_world((1, 0, 1)), grid.index_to_world((11.5, 3.5, 11.5)), atol=1e-6)

    @pytest.mark.parametrize("patch", [0, 5, 17])
    def test_patches_must_tile(self, patch):
        grid = VolumeGeometry(shape=(16, 16, 16), affine=np.eye(4))
        with pytest.raises(ValueError, match="do not tile"):
            token_geometry(grid, patch)

    @given(geometries(smallest=6, largest=30))
    def test_a_token_map_comes_back_to_the_right_place(self, geometry):
        grid = model_grid(geometry, spec(32)).final
        tokens = token_geometry(grid, 8)
        back = map_to_source(ramp(tokens), tokens, geometry)
        places = tokens.world_to_index(
            geometry.index_to_world(np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1))
        )
        inside = ((places >= 0) & (places <= np.asarray(tokens.shape) - 1)).all(axis=-1)
        np.testing.assert_allclose(back[inside], ramp(geometry)[inside], rtol=1e-5, atol=5e-3)
        outside = ((places < -0.51) | (places > np.asarray(tokens.shape) - 0.49)).any(axis=-1)
        assert np.isnan(back[outside]).all()
        assert np.isfinite(back[((places > -0.49) & (places < np.asarray(tokens.shape) - 0.51)).all(axis=-1)]).all()


class TestFieldOfView:
    def test_a_long_scan_is_said_to_be_cut(self):
        geometry = VolumeGeometry(shape=(300, 300, 400), affine=np.diag([1.0, 1, 1.5, 1]))
        (text,) = field_of_view_warnings(geometry, PreprocessSpec())
        assert "384 mm of 600 mm in head-foot direction" in text

    def test_a_chest_fits(self):
        geometry = VolumeGeometry(shape=(512, 512, 300), affine=np.diag([0.75, 0.75, 1.2, 1]))
        assert field_of_view_warnings(geometry, PreprocessSpec()) == ()


def test_preprocessing_needs_no_torch():
    code = "import sys, colipri_core.preprocess, colipri_core.io; print('torch' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]
