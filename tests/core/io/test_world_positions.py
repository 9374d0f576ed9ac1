"""A world point stays the same world point through every file format and every orientation."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_writer import SeriesOptions
from dicom_writer import write_multiframe
from dicom_writer import write_series
from geometry_strategies import corners
from geometry_strategies import geometries
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from colipri_core.geometry import VolumeGeometry
from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.volume import Volume


@pytest.fixture(autouse=True)
def _tiny_volumes_are_no_chests():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def random_hu(geometry: VolumeGeometry, seed: int = 0) -> np.ndarray:
    """Distinct integer values, so that no two voxels can be confused."""
    count = int(np.prod(geometry.shape))
    return np.random.default_rng(seed).permutation(count).reshape(geometry.shape).astype(np.int16) - 1024


def assert_same_image(found: Volume, expected: np.ndarray, geometry: VolumeGeometry, *, atol: float) -> None:
    """Same values at the same world positions, whatever the order of axes in the file."""
    np.testing.assert_allclose(
        found.geometry.index_to_world(corners(found.geometry)).mean(axis=0), geometry.center, atol=atol
    )
    indices = np.stack(np.meshgrid(*map(np.arange, found.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    places = geometry.world_to_index(found.geometry.index_to_world(indices))
    nearest = np.round(places).astype(int)
    assert np.abs(places - nearest).max() < 0.02
    np.testing.assert_array_equal(found.voxels.reshape(-1), expected[tuple(nearest.T)])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@given(geometry=geometries(largest=9))
def test_written_and_read_again(suffix, geometry):
    values = random_hu(geometry)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case.1{suffix}"
        write_volume(Volume(voxels=values, affine=geometry.affine), path)
        found = read_volume(path)
    assert found.name == "case.1"
    assert found.voxels.dtype == np.int16
    np.testing.assert_array_equal(found.voxels, values)
    # NIfTI keeps the matrix in 32-bit floats, MetaImage and NRRD in decimal text.
    np.testing.assert_allclose(found.geometry.affine, geometry.affine, rtol=1e-6, atol=1e-4)


@given(geometry=geometries(smallest=3, largest=9), data=st.data())
def test_dicom_series_of_any_orientation_and_file_order(geometry, data):
    values = random_hu(geometry)
    order = tuple(data.draw(st.permutations(range(geometry.shape[2]))))
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder), values, geometry.affine, SeriesOptions(order=order))
        found = read_volume(folder)
    assert found.voxels.dtype == np.int16
    assert_same_image(found, values, geometry, atol=1e-3)


@given(geometry=geometries(smallest=3, largest=9), data=st.data())
@settings(max_examples=10)
def test_multiframe_ct_with_frames_in_any_order(geometry, data):
    values = random_hu(geometry)
    order = tuple(data.draw(st.permutations(range(geometry.shape[2]))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "enhanced.dcm"
        write_multiframe(path, values, geometry.affine, order=order)
        found = read_volume(path)
    assert_same_image(found, values, geometry, atol=1e-3)


@pytest.mark.parametrize("space", ["right-anterior-superior", "left-anterior-superior", "left-posterior-superior"])
def test_nrrd_spaces(tmp_path, space):
    """The same header vectors mean different places in different spaces."""
    header = (
        f"NRRD0005\ntype: int16\ndimension: 3\nspace: {space}\nsizes: 2 3 4\n"
        "space directions: (0,2,0) (1.5,0,0) (0,0,-3)\nkinds: domain domain domain\n"
        "endian: little\nencoding: raw\nspace origin: (10,20,30)\n\n"
    )
    values = np.arange(24, dtype="<i2").reshape(4, 3, 2)
    path = tmp_path / "case.nrrd"
    path.write_bytes(header.encode() + values.tobytes())
    found = read_volume(path)
    signs = np.array([1 if space.startswith("right") else -1, -1 if "posterior" in space else 1, 1])
    expected = np.array([[0, 1.5, 0, 10], [2, 0, 0, 20], [0, 0, -3, 30], [0, 0, 0, 1.0]])
    expected[:3] *= signs[:, None]
    np.testing.assert_allclose(found.affine, expected)
    np.testing.assert_array_equal(found.voxels, values.transpose(2, 1, 0))


def test_left_handed_volumes_are_read_right(tmp_path):
    affine = np.diag([-0.7, 0.7, 2.5, 1.0])
    affine[:3, 3] = (180, -180, -400)
    geometry = VolumeGeometry(shape=(5, 6, 7), affine=affine)
    assert geometry.is_left_handed
    values = random_hu(geometry)
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        path = tmp_path / f"case{suffix}"
        write_volume(Volume(voxels=values, affine=affine), path)
        found = read_volume(path)
        assert found.geometry.is_left_handed
        assert_same_image(found, values, geometry, atol=1e-3)
    write_series(tmp_path / "dicom", values, affine)
    assert_same_image(read_volume(tmp_path / "dicom"), values, geometry, atol=1e-3)
