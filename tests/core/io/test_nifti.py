"""NIfTI: which affine counts, and which type the voxels have in memory."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.errors import VolumeWarning
from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

AFFINE = np.array([[-0.8, 0, 0, 150], [0, -0.8, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])


def hu(shape=(6, 7, 8)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1500, shape).astype(np.int16)


def save(path, image) -> None:
    nib.save(image, path)


def test_integers_with_a_whole_scaling_stay_integers(tmp_path):
    header = nib.Nifti1Image(hu(), AFFINE).header
    # nibabel's own writer resets the scaling, so the file is put together as other programs write it.
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = 1, -1024, 352
    path = tmp_path / "scaled.nii"
    path.write_bytes(header.binaryblock + bytes(4) + (hu() + np.int16(1024)).tobytes(order="F"))
    found = read_volume(path)
    assert found.voxels.dtype == np.int16
    np.testing.assert_array_equal(found.voxels, hu())


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(np.int16, np.int16), (np.uint16, np.int16), (np.int32, np.int16), (np.int64, np.int16), (np.float64, np.float32)],
)
def test_types_in_memory(tmp_path, stored, expected):
    values = np.abs(hu()).astype(stored)
    image = nib.Nifti1Image(values, AFFINE, dtype=stored)
    save(tmp_path / "scan.nii.gz", image)
    found = read_volume(tmp_path / "scan.nii.gz")
    assert found.voxels.dtype == expected
    np.testing.assert_array_equal(found.voxels, values)


def test_fractional_scaling_gives_floats(tmp_path):
    image = nib.Nifti1Image(hu().astype(np.float32) * 0.25, AFFINE)
    image.set_data_dtype(np.int16)
    save(tmp_path / "scan.nii", image)
    found = read_volume(tmp_path / "scan.nii")
    assert found.voxels.dtype == np.float32
    np.testing.assert_allclose(found.voxels, hu() * 0.25, atol=0.05)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    save(tmp_path / "scan.nii.gz", nib.Nifti1Image(hu()[..., None], AFFINE))
    found = read_volume(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(found.voxels, hu())


def test_sform_wins_over_a_qform_that_differs_and_says_so(tmp_path):
    image = nib.Nifti1Image(hu(), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += 25
    image.set_sform(AFFINE, code=1)
    image.set_qform(moved, code=1)
    save(tmp_path / "scan.nii.gz", image)
    with pytest.warns(VolumeWarning, match="differ by up to 25 mm"):
        found = read_volume(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)


def test_qform_alone_is_used(tmp_path):
    image = nib.Nifti1Image(hu(), AFFINE)
    image.set_sform(None)
    image.set_qform(AFFINE, code=1)
    save(tmp_path / "scan.nii.gz", image)
    np.testing.assert_allclose(read_volume(tmp_path / "scan.nii.gz").affine, AFFINE, atol=1e-4)


def test_no_orientation_is_warned_about(tmp_path):
    image = nib.Nifti1Image(hu(), AFFINE)
    image.set_sform(None)
    image.set_qform(None)
    save(tmp_path / "scan.nii.gz", image)
    with pytest.warns(VolumeWarning, match="states no orientation"):
        read_volume(tmp_path / "scan.nii.gz")


def test_metres_become_millimetres(tmp_path):
    image = nib.Nifti1Image(hu(), np.diag([0.0008, 0.0008, 0.002, 1]))
    image.header.set_xyzt_units("meter")
    save(tmp_path / "scan.nii.gz", image)
    with pytest.warns(VolumeWarning, match="unit is meter"):
        found = read_volume(tmp_path / "scan.nii.gz")
    assert found.spacing == pytest.approx((0.8, 0.8, 2.0), rel=1e-5)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (2, 1), (10, 1), (64 + 2, 1), (64 + 1, 1000), (128 + 3, 0.001)])
def test_the_unit_of_space_is_read_whatever_that_of_time_is(tmp_path, code, factor):
    image = nib.Nifti1Image(hu(), np.diag([0.8, 0.8, 2.0, 1]))
    image.header["xyzt_units"] = code
    save(tmp_path / "scan.nii", image)
    found = read_volume(tmp_path / "scan.nii")
    assert found.spacing == pytest.approx((0.8 * factor, 0.8 * factor, 2.0 * factor), rel=1e-5)
    assert not any("unknown code" in note for note in found.metadata["warnings"])


@pytest.mark.parametrize("code", [4, 5, 6, 7, 255])
def test_an_unknown_unit_is_taken_for_mm_and_warned_about(tmp_path, code):
    image = nib.Nifti1Image(hu(), np.diag([0.8, 0.8, 2.0, 1]))
    image.header["xyzt_units"] = code
    save(tmp_path / "scan.nii", image)
    with pytest.warns(VolumeWarning, match=f"unknown code {code % 8}; mm was assumed"):
        found = read_volume(tmp_path / "scan.nii")
    assert found.spacing == pytest.approx((0.8, 0.8, 2.0), rel=1e-5)


def test_sheared_affine_is_written_and_read_and_warned_about(tmp_path):
    sheared = AFFINE.copy()
    sheared[1, 2] = 0.5
    write_volume(Volume(voxels=hu(), affine=sheared), tmp_path / "scan.nii.gz")
    with pytest.warns(VolumeWarning, match="not perpendicular"):
        found = read_volume(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(found.affine, sheared, atol=1e-4)


@pytest.mark.parametrize("kind", ["rgb", "vector"])
def test_colours_and_vectors_are_refused(tmp_path, kind):
    if kind == "rgb":
        values = np.zeros((6, 7, 8), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        image = nib.Nifti1Image(values, AFFINE)
    else:
        image = nib.Nifti1Image(np.zeros((6, 7, 8, 1, 3), dtype=np.float32), AFFINE)
        image.header.set_intent("vector")
    save(tmp_path / "scan.nii.gz", image)
    with pytest.raises(UnsupportedVolumeError, match=r'Cannot read "scan.nii.gz"'):
        read_volume(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_live_on_when_the_file_is_overwritten(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    save(path, nib.Nifti1Image(hu(), AFFINE))
    found = read_volume(path)
    path.write_bytes(bytes(path.stat().st_size))
    np.testing.assert_array_equal(found.voxels, hu())
    assert not isinstance(found.voxels, np.memmap)
