"""DICOM series: sorting, rescaling, choosing, and what is left out."""

from __future__ import annotations

import re
import time

import numpy as np
import pydicom
import pytest
from dicom_writer import SeriesOptions
from dicom_writer import write_series
from pydicom.uid import RLELossless
from pydicom.uid import generate_uid

from colipri_core.errors import SeveralSeriesError
from colipri_core.errors import VolumeWarning
from colipri_core.io import read_volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

AFFINE = np.array([[-0.7, 0, 0, 150], [0, -0.7, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])


def hu(shape=(9, 8, 6), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1024, 1500, shape).astype(np.int16)


def test_metadata_identifies_images_and_not_the_patient(tmp_path):
    write_series(tmp_path / "scan", hu(), AFFINE)
    volume = read_volume(tmp_path / "scan")
    identifiers = volume.metadata["dicom"]
    assert volume.name == "scan"
    assert volume.unit == "HU"
    assert len(identifiers["sop_instance_uids"]) == 6
    assert identifiers["modality"] == "CT"
    text = repr(volume.metadata)
    assert "Secret" not in text
    assert not re.search(r"\b0815\b", text)  # a word: random identifiers may hold the digits


def test_sop_uids_follow_k(tmp_path):
    files = write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(order=(3, 0, 5, 1, 4, 2)))
    volume = read_volume(tmp_path / "scan")
    expected = [str(pydicom.dcmread(file).SOPInstanceUID) for file in files]
    found = volume.metadata["dicom"]["sop_instance_uids"]
    ascending = volume.orientation[2] == "S"
    assert list(found) == (expected if ascending else expected[::-1])


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1, -1024, np.int16), (2, -1024, np.int16), (0.5, -1000, np.float32)]
)
def test_rescaling(tmp_path, slope, intercept, dtype):
    values = np.arange(-1000, -1000 + 4 * 4 * 4 * 20, 20).reshape(4, 4, 4)
    affine = np.diag([-1.0, -1, 1, 1])
    write_series(tmp_path / "scan", values, affine, SeriesOptions(slope=slope, intercept=intercept))
    volume = read_volume(tmp_path / "scan")
    assert volume.orientation == "LPS"
    assert volume.voxels.dtype == dtype
    np.testing.assert_allclose(volume.voxels, values, atol=slope / 2)


def test_each_slice_has_its_own_rescaling(tmp_path):
    def edit(k, dataset):
        dataset.RescaleIntercept = -1024 + 100 * k

    write_series(tmp_path / "scan", np.zeros((5, 5, 4)), AFFINE, SeriesOptions(edit=edit))
    volume = read_volume(tmp_path / "scan")
    assert volume.voxels[0, 0].tolist() == [0, 100, 200, 300]


def test_one_slice_stands_for_its_series(tmp_path):
    files = write_series(tmp_path / "scan", hu(), AFFINE)
    write_series(tmp_path / "scan2", hu(seed=1), AFFINE)
    for file in (tmp_path / "scan2").iterdir():
        file.rename(tmp_path / "scan" / f"other_{file.name}")
    np.testing.assert_array_equal(np.sort(read_volume(files[2]).voxels, axis=None), np.sort(hu(), axis=None))


def two_series(folder) -> None:
    write_series(folder / "a", hu(), AFFINE, SeriesOptions(number=4))
    write_series(folder / "b", hu((9, 8, 4)), AFFINE, SeriesOptions(number=7))


def test_several_series_are_listed(tmp_path):
    two_series(tmp_path)
    with pytest.raises(SeveralSeriesError, match="--series") as caught:
        read_volume(tmp_path)
    assert len(caught.value.series) == 2
    assert "Chest 4" in str(caught.value)
    assert "6 axial slices of 9 x 8" in str(caught.value)


def test_a_series_is_picked_by_uid_number_or_place(tmp_path):
    two_series(tmp_path)
    with pytest.raises(SeveralSeriesError) as caught:
        read_volume(tmp_path)
    second = list(caught.value.series)[1]
    for wanted in (second, 7, "7", 2):
        assert read_volume(tmp_path, series=wanted).shape[2] == 4
    assert read_volume(tmp_path, series=1).shape[2] == 6
    with pytest.raises(SeveralSeriesError, match='expected series "99"'):
        read_volume(tmp_path, series=99)


def test_orientations_of_one_series_are_told_apart(tmp_path):
    series = generate_uid()

    def same_series(_k, dataset):
        dataset.SeriesInstanceUID = series

    coronal = AFFINE[:, [0, 2, 1, 3]]
    write_series(tmp_path / "a", hu(), AFFINE, SeriesOptions(edit=same_series))
    write_series(tmp_path / "b", hu((9, 8, 4)), coronal, SeriesOptions(edit=same_series))
    with pytest.raises(SeveralSeriesError, match="coronal"):
        read_volume(tmp_path)
    assert read_volume(tmp_path, series=2).shape[2] == 4


def test_localizers_screenshots_and_single_slices_are_left_out_with_a_note(tmp_path):
    def localizer(_k, dataset):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    def screenshot(k, dataset):
        del dataset.ImagePositionPatient
        return k == 0

    write_series(tmp_path / "scan", hu(), AFFINE)
    write_series(tmp_path / "scout", hu((20, 30, 1)), AFFINE, SeriesOptions(number=1, edit=localizer))
    write_series(tmp_path / "dose", hu((20, 30, 1)), AFFINE, SeriesOptions(number=99, edit=screenshot))
    write_series(tmp_path / "bolus", hu((9, 8, 1)), AFFINE, SeriesOptions(number=2))
    with pytest.warns(VolumeWarning) as caught:
        volume = read_volume(tmp_path)
    assert volume.shape == (9, 8, 6)
    notes = " ".join(str(warning.message) for warning in caught)
    assert notes.count("Left out") == 3
    assert "localizer" in notes
    assert any("localizer" in note for note in volume.metadata["warnings"])


def test_copies_of_a_file_are_left_out_with_a_note(tmp_path):
    files = write_series(tmp_path / "scan", hu(), AFFINE)
    (tmp_path / "scan" / "copy of 2").write_bytes(files[2].read_bytes())
    with pytest.warns(VolumeWarning, match="copies"):
        assert read_volume(tmp_path / "scan").shape == (9, 8, 6)


def test_other_files_in_the_folder_do_no_harm(tmp_path):
    write_series(tmp_path / "scan", hu(), AFFINE)
    (tmp_path / "scan" / "README.txt").write_text("notes")
    (tmp_path / "scan" / "empty").touch()
    (tmp_path / "scan" / "DICOMDIR").write_bytes(b"\0" * 200)
    assert read_volume(tmp_path / "scan").shape == (9, 8, 6)


def test_compressed_slices(tmp_path):
    def compress(_k, dataset):
        dataset.compress(RLELossless)

    write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(edit=compress))
    np.testing.assert_array_equal(np.sort(read_volume(tmp_path / "scan").voxels, axis=None), np.sort(hu(), axis=None))


def test_other_modalities_are_no_hounsfield_units(tmp_path):
    write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(modality="MR", slope=None))
    with pytest.warns(VolumeWarning, match="modality is MR"):
        assert read_volume(tmp_path / "scan").unit == "unknown"


def test_three_hundred_slices_take_seconds(tmp_path):
    write_series(tmp_path / "scan", np.zeros((64, 64, 300)), AFFINE)
    start = time.process_time()
    assert read_volume(tmp_path / "scan").shape == (64, 64, 300)
    assert time.process_time() - start < 5
