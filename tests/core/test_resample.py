"""Resampling between any two grids, parallel or not."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_strategies import geometries
from geometry_strategies import orientations
from geometry_strategies import ramp
from hypothesis import given
from hypothesis import strategies as st

from colipri_core import resample as resample_module
from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import reorient_array
from colipri_core.resample import parallel_axes
from colipri_core.resample import resample


def places(target: VolumeGeometry, source: VolumeGeometry) -> np.ndarray:
    indices = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1)
    return source.world_to_index(target.index_to_world(indices))


def near(a: VolumeGeometry, b: VolumeGeometry) -> VolumeGeometry:
    """Grid `a`, moved so that its centre lies on that of `b`."""
    affine = a.affine.copy()
    affine[:3, 3] += b.center - a.center
    return VolumeGeometry(shape=a.shape, affine=affine)


@given(geometries(), geometries())
def test_ramps_stay_ramps_between_any_two_grids(source, other):
    target = near(other, source)
    found = resample(ramp(source), source, target)
    where = places(target, source)
    inside = ((where >= 0) & (where <= np.asarray(source.shape) - 1)).all(axis=-1)
    np.testing.assert_allclose(found[inside], ramp(target)[inside], rtol=1e-5, atol=5e-3)
    outside = ((where < -0.51) | (where > np.asarray(source.shape) - 0.49)).any(axis=-1)
    assert np.isnan(found[outside]).all()


@given(geometries(), geometries())
def test_labels_are_those_of_the_nearest_voxel_between_any_two_grids(source, other):
    target = near(other, source)
    labels = np.random.default_rng(0).integers(1, 200, source.shape).astype(np.uint8)
    found = resample(labels, source, target, order=0)
    where = places(target, source)
    # Ties may go either way.
    clear = (np.abs(where - np.floor(where) - 0.5) > 1e-2).all(axis=-1)
    nearest = np.round(where).astype(int)
    inside = ((nearest >= 0) & (nearest < source.shape)).all(axis=-1)
    i, j, k = np.moveaxis(np.clip(nearest, 0, np.asarray(source.shape) - 1), -1, 0)
    expected = np.where(inside, labels[i, j, k], 0)
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert found.dtype == np.uint8


@given(geometries(), orientations, st.tuples(*[st.integers(2, 40)] * 3), st.sampled_from(["C", "F"]))
def test_the_separable_way_and_the_general_way_agree(source, orientation, shape, order):
    target = source.reoriented(orientation).resampled(shape)
    assert parallel_axes(target, source) is not None
    values = np.asarray(np.random.default_rng(0).normal(0, 100, source.shape).astype(np.float32), order=order)
    fast = resample(values, source, target)
    general = resample_module._gather(values, source, target, order=1, fill=np.nan)
    both = np.isfinite(fast) & np.isfinite(general)
    assert both.mean() > 0.5
    np.testing.assert_allclose(fast[both], general[both], atol=1e-2)


@given(geometries(), orientations)
def test_onto_its_own_reoriented_grid_nothing_changes(source, orientation):
    values = np.random.default_rng(0).integers(0, 200, source.shape).astype(np.uint8)
    target = source.reoriented(orientation)
    expected = reorient_array(values, source.orientation, orientation)
    np.testing.assert_array_equal(resample(values, source, target, order=0), expected)
    np.testing.assert_allclose(resample(values, source, target), expected, atol=1e-3)


def test_parallel_axes_of_tilted_grids_are_none():
    source = VolumeGeometry(shape=(64, 64, 64), affine=np.eye(4))
    tilted = np.eye(4)
    angle = 1e-4
    tilted[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert parallel_axes(VolumeGeometry(shape=(64, 64, 64), affine=tilted), source) is None
    angle = 1e-6
    tilted[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert parallel_axes(VolumeGeometry(shape=(64, 64, 64), affine=tilted), source) is not None


@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_fill(tilt):
    source = VolumeGeometry(shape=(4, 4, 4), affine=np.eye(4))
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    target = VolumeGeometry(shape=(12, 12, 12), affine=affine)
    values = np.ones((4, 4, 4), dtype=np.float32)
    assert np.isnan(resample(values, source, target)[-1, -1, -1])
    assert resample(values, source, target, fill=-7)[-1, -1, -1] == -7
    assert resample(values.astype(np.uint8), source, target, order=0, fill=9)[-1, -1, -1] == 9
    assert resample(values.astype(np.uint8), source, target, order=0)[-1, -1, -1] == 0


def test_wrong_arguments():
    grid = VolumeGeometry(shape=(4, 4, 4), affine=np.eye(4))
    with pytest.raises(ValueError, match="must agree"):
        resample(np.zeros((3, 4, 4)), grid, grid)
    with pytest.raises(ValueError, match="order"):
        resample(np.zeros((4, 4, 4)), grid, grid, order=3)
    with pytest.raises(ValueError, match="cannot be stored"):
        resample(np.zeros((4, 4, 4), dtype=np.uint8), grid, grid, order=0, fill=-1)
