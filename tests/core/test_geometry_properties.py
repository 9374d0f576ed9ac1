"""Whatever is done to a grid, a world point stays the same world point."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from geometry_strategies import affines
from geometry_strategies import corners
from geometry_strategies import geometries
from geometry_strategies import orientations
from geometry_strategies import ramp
from hypothesis import given
from hypothesis import strategies as st

from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import nearest_axes
from colipri_core.geometry import ras_to_lps
from colipri_core.geometry import reorient_array


@given(geometries(), st.lists(st.floats(-500, 500), min_size=3, max_size=3))
def test_world_and_index_are_inverse(geometry, point):
    np.testing.assert_allclose(geometry.index_to_world(geometry.world_to_index(point)), point, atol=1e-6)


@given(affines())
def test_nearest_axes_are_nibabel_s(affine):
    axes, signs = nearest_axes(affine)
    np.testing.assert_array_equal(np.stack([axes, signs], axis=1), nib.orientations.io_orientation(affine))


@given(geometries(), orientations)
def test_reorientation_moves_no_voxel(geometry, orientation):
    reoriented = geometry.reoriented(orientation)
    moved = reorient_array(ramp(geometry), geometry.orientation, orientation)
    assert moved.shape == reoriented.shape
    np.testing.assert_allclose(moved, ramp(reoriented), atol=1e-8)


@given(geometries(), orientations)
def test_reorientation_and_back_is_nothing(geometry, orientation):
    there = reorient_array(ramp(geometry), geometry.orientation, orientation)
    np.testing.assert_array_equal(reorient_array(there, orientation, geometry.orientation), ramp(geometry))


@given(geometries(), st.tuples(*[st.integers(-5, 5)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_crops_and_pads_keep_their_place(geometry, start, shape):
    cropped = geometry.cropped(start, shape)
    np.testing.assert_allclose(
        cropped.index_to_world(corners(cropped)), geometry.index_to_world(corners(cropped) + start), atol=1e-8
    )


@given(geometries(), st.tuples(*[st.integers(1, 40)] * 3))
def test_resampled_grids_cover_the_same_edges(geometry, shape):
    resampled = geometry.resampled(shape)
    for end in (0.0, 1.0):
        edge = end * np.asarray(geometry.shape) - 0.5
        new_edge = end * np.asarray(shape) - 0.5
        np.testing.assert_allclose(resampled.index_to_world(new_edge), geometry.index_to_world(edge), atol=1e-8)
    np.testing.assert_allclose(resampled.center, geometry.center, atol=1e-8)


@given(geometries())
def test_lps_and_ras_name_the_same_points(geometry):
    in_lps = VolumeGeometry(shape=geometry.shape, affine=ras_to_lps(geometry.affine))
    points = ras_to_lps(in_lps.index_to_world(corners(geometry)))
    np.testing.assert_allclose(points, geometry.index_to_world(corners(geometry)), atol=1e-9)
