"""Affine algebra on chosen cases."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import nearest_axes
from colipri_core.geometry import ras_to_lps
from colipri_core.geometry import reorient_array


def rotated(degrees: float, axis: str = "z") -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return affine


def test_ras_to_lps_is_its_own_inverse_and_moves_points_and_affines_alike():
    affine = rotated(30)
    affine[:3, 3] = (1, 2, 3)
    np.testing.assert_allclose(ras_to_lps(ras_to_lps(affine)), affine)
    np.testing.assert_allclose(ras_to_lps(np.array([[1.0, 2, 3]])), [[-1, -2, 3]])
    np.testing.assert_allclose(ras_to_lps(affine)[:3, 3], ras_to_lps(affine[:3, 3]))


@pytest.mark.parametrize("degrees", [0, 44, 45, 46, 90, 135, 180, 225, 270])
@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_nearest_axes_are_a_permutation_and_nibabel_s_also_at_45_degrees(degrees, axis):
    affine = rotated(degrees, axis)
    axes, signs = nearest_axes(affine)
    assert sorted(axes) == [0, 1, 2]
    expected = nib.orientations.io_orientation(affine)
    np.testing.assert_array_equal(np.stack([axes, signs], axis=1), expected)


def test_nearest_axes_of_a_cube_on_its_corner():
    axes, _ = nearest_axes(rotated_to_corner())
    assert sorted(axes) == [0, 1, 2]


def rotated_to_corner() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(np.array([1.0, -1.0, 0.0]) / np.sqrt(2) * np.arccos(3**-0.5)).as_matrix()
    return affine


@pytest.mark.parametrize(
    ("affine", "orientation"),
    [(np.diag([1.0, 1, 1, 1]), "RAS"), (np.diag([-1.0, -1, 1, 1]), "LPS"), (np.diag([-2.0, 1, 3, 1]), "LAS")],
)
def test_orientation_codes(affine, orientation):
    assert VolumeGeometry(shape=(2, 2, 2), affine=affine).orientation == orientation


def test_orientation_of_permuted_axes():
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -2.0], [-3.0, 0, 0], [0, 1.0, 0]]
    assert VolumeGeometry(shape=(2, 2, 2), affine=affine).orientation == "PSL"


def test_handedness_shear_and_alignment():
    assert VolumeGeometry(shape=(2, 2, 2), affine=np.diag([-1.0, 1, 1, 1])).is_left_handed
    assert not VolumeGeometry(shape=(2, 2, 2), affine=np.diag([-1.0, -1, 1, 1])).is_left_handed
    sheared = np.eye(4)
    sheared[1, 2] = 0.2
    assert not VolumeGeometry(shape=(2, 2, 2), affine=sheared).is_orthogonal
    assert VolumeGeometry(shape=(2, 2, 2), affine=rotated(20)).is_orthogonal
    assert not VolumeGeometry(shape=(2, 2, 2), affine=rotated(20)).is_axis_aligned


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 0, 1, 1]),
        np.full((4, 4), np.nan),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.array([[500.0, 500, 0, 0], [500, 500 + 1e-5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.eye(3),
        np.diag([1.0, 1, 1, 2]),
    ],
    ids=["zero spacing", "nan", "parallel axes", "nearly parallel axes", "3x3", "projective"],
)
def test_affines_that_place_nothing_are_refused(affine):
    with pytest.raises(ValueError, match="affine"):
        VolumeGeometry(shape=(2, 2, 2), affine=affine)


def test_microscopic_spacing_is_no_reason_to_refuse():
    geometry = VolumeGeometry(shape=(2, 2, 2), affine=np.diag([1e-4, 1e-4, 1e-4, 1]))
    assert geometry.spacing == pytest.approx((1e-4, 1e-4, 1e-4))


def test_affine_cannot_be_changed_from_outside():
    affine = np.eye(4)
    geometry = VolumeGeometry(shape=(2, 2, 2), affine=affine)
    affine[0, 3] = 99
    assert geometry.origin[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 3] = 1


def test_contains_counts_the_outer_half_voxel():
    geometry = VolumeGeometry(shape=(4, 4, 4), affine=np.diag([2.0, 2, 2, 1]))
    assert geometry.contains((-0.9, 0, 0))
    assert not geometry.contains((-1.1, 0, 0))
    assert geometry.contains((6.9, 6.9, 6.9))


@pytest.mark.parametrize("orientation", ["RA", "RAA", "RAX", "RASL"])
def test_wrong_orientation_codes_are_refused(orientation):
    with pytest.raises(ValueError, match="three letters"):
        reorient_array(np.zeros((2, 2, 2)), "RAS", orientation)
