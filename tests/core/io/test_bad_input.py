"""What a reader refuses or warns about: each file is really broken, each message names the remedy."""

from __future__ import annotations

import gzip
import os
import re
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_writer import SeriesOptions
from dicom_writer import write_multiframe
from dicom_writer import write_series

from colipri_core.errors import InputError
from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.errors import VolumeWarning
from colipri_core.io import check_volume
from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.io.checks import MAX_VOXELS
from colipri_core.volume import Volume

AFFINE = np.array([[-0.7, 0, 0, 150], [0, -0.7, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])


def hu(shape=(9, 8, 6)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 1500, shape).astype(np.int16)


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def refused(path: Path, kind: type[InputError], found: str) -> str:
    """Reading must fail with this error; returns its message after checking its form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind, match=found) as caught:
            read_volume(path)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert re.match(r'Cannot read "[^"]+": expected .+, found .+\. .+[.)]$', message, re.DOTALL), message
    assert str(path.parent) not in message
    assert caught.value.exit_code == 3
    return message


class TestFilesThatAreNoImages:
    def test_missing(self, tmp_path):
        refused(tmp_path / "nothing.nii.gz", UnreadableInputError, "nothing at this path")

    def test_text(self, tmp_path):
        path = tmp_path / "report.txt"
        path.write_text("No pleural effusion. " * 50)
        assert ".nii.gz" in refused(path, UnreadableInputError, "bytes of another kind")

    def test_empty_file(self, tmp_path):
        path = tmp_path / "scan"
        path.touch()
        refused(path, UnreadableInputError, "0 bytes")

    @pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.nrrd", "scan.mha", "scan.mhd"])
    def test_text_with_the_name_of_an_image(self, tmp_path, name):
        path = tmp_path / name
        path.write_text("No pleural effusion. " * 50)
        refused(path, UnreadableInputError, "found")

    def test_empty_folder(self, tmp_path):
        refused(tmp_path, UnreadableInputError, "an empty folder")

    def test_folder_of_other_files(self, tmp_path):
        save(tmp_path / "scan.nii.gz", hu())
        assert "itself" in refused(tmp_path, UnreadableInputError, "1 files, none of them a DICOM image")

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
    def test_forbidden_folder(self, tmp_path):
        folder = tmp_path / "scan"
        folder.mkdir(mode=0)
        refused(folder, UnreadableInputError, "no permission")


class TestDamagedFiles:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
    def test_truncated_gzip(self, tmp_path, share):
        whole = save(tmp_path / "whole.nii.gz", hu((40, 40, 20))).read_bytes()
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path, UnreadableInputError, "damaged or truncated|too few")

    def test_corrupt_gzip(self, tmp_path):
        data = bytearray(save(tmp_path / "whole.nii.gz", hu((40, 40, 20))).read_bytes())
        middle = len(data) // 2
        data[middle : middle + 64] = bytes(64)
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(data)
        refused(path, UnreadableInputError, "damaged or truncated")

    def test_truncated_nifti(self, tmp_path):
        whole = save(tmp_path / "whole.nii", hu()).read_bytes()
        path = tmp_path / "scan.nii"
        path.write_bytes(whole[:-100])
        refused(path, UnreadableInputError, "too few")

    @pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
    def test_truncated_itk_files(self, tmp_path, suffix):
        whole = tmp_path / f"whole{suffix}"
        write_volume(Volume(voxels=hu((40, 40, 20)), affine=AFFINE), whole)
        path = tmp_path / f"scan{suffix}"
        path.write_bytes(whole.read_bytes()[:-5000])
        refused(path, UnreadableInputError, "damaged, truncated")

    def test_truncated_dicom(self, tmp_path):
        files = write_series(tmp_path / "scan", hu((64, 64, 4)), AFFINE)
        files[1].write_bytes(files[1].read_bytes()[:-4000])
        assert files[1].name in refused(tmp_path / "scan", UnreadableInputError, "pixel data")

    def test_dicom_cut_in_its_header(self, tmp_path):
        files = write_series(tmp_path / "scan", hu((64, 64, 4)), AFFINE)
        files[1].write_bytes(files[1].read_bytes()[:700])
        refused(tmp_path / "scan", UnsupportedVolumeError, "gaps")


class TestShapes:
    def test_two_dimensions(self, tmp_path):
        refused(save(tmp_path / "scan.nii.gz", hu((9, 8, 1))[:, :, 0]), UnsupportedVolumeError, "9 x 8 voxels")

    def test_one_slice(self, tmp_path):
        refused(save(tmp_path / "scan.nii.gz", hu((9, 8, 1))), UnsupportedVolumeError, "9 x 8 x 1 voxels")

    def test_one_dicom_slice(self, tmp_path):
        write_series(tmp_path / "scan", hu((9, 8, 1)), AFFINE)
        refused(tmp_path / "scan", UnsupportedVolumeError, "a single slice")

    def test_four_dimensions(self, tmp_path):
        path = save(tmp_path / "scan.nii.gz", np.zeros((9, 8, 6, 3), dtype=np.int16))
        assert "time point" in refused(path, UnsupportedVolumeError, "9 x 8 x 6 x 3")

    @pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
    def test_colours(self, tmp_path, suffix):
        import SimpleITK

        path = tmp_path / f"scan{suffix}"
        image = SimpleITK.GetImageFromArray(np.zeros((6, 8, 9, 3), dtype=np.uint8), isVector=True)
        SimpleITK.WriteImage(image, str(path))
        refused(path, UnsupportedVolumeError, "3 numbers a voxel")

    def test_colour_dicom(self, tmp_path):
        def colour(_k, dataset):
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"

        write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(edit=colour))
        refused(tmp_path / "scan", UnsupportedVolumeError, "colour images")

    def test_absurd_nifti_takes_no_memory(self, tmp_path):
        header = nib.Nifti2Image(hu(), AFFINE).header
        header["dim"][1:4] = 100_000
        path = tmp_path / "scan.nii"
        path.write_bytes(header.binaryblock + bytes(100))
        refused(path, UnsupportedVolumeError, "100000 x 100000 x 100000")

    def test_gzip_that_cannot_hold_what_it_claims_takes_no_memory(self, tmp_path):
        header = nib.Nifti1Image(hu(), AFFINE).header
        header["dim"][1:4] = 1200
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(gzip.compress(header.binaryblock + bytes(100)))
        assert MAX_VOXELS > 1200**3
        refused(path, UnreadableInputError, "too few")

    def test_absurd_nrrd_and_mha_take_no_memory(self, tmp_path):
        nrrd = tmp_path / "scan.nrrd"
        nrrd.write_text(
            "NRRD0005\ntype: int16\ndimension: 3\nsizes: 100000 100000 100000\nendian: little\nencoding: raw\n\n"
        )
        refused(nrrd, UnsupportedVolumeError, "100000 x 100000 x 100000")
        mha = tmp_path / "scan.mha"
        mha.write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 100000 100000 100000\n"
            "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        )
        refused(mha, UnsupportedVolumeError, "100000 x 100000 x 100000")


class TestPlaces:
    def test_zero_spacing_nifti(self, tmp_path):
        image = nib.Nifti1Image(hu(), AFFINE)
        image.header["sform_code"], image.header["qform_code"] = 2, 0
        image.header["srow_z"] = 0
        path = tmp_path / "scan.nii"
        path.write_bytes(image.header.binaryblock + bytes(4) + hu().tobytes())
        refused(path, UnsupportedVolumeError, "singular")

    def without_spacing(self, path: Path, kind: str, value: float, *, sform: int = 0, qform: int = 0) -> Path:
        """A whole file whose pixdim[3] is a number that is no spacing, as no writer of nibabel's would leave it."""
        image = {"nifti1": nib.Nifti1Image, "nifti2": nib.Nifti2Image}[kind](hu((20, 20, 20)), AFFINE)
        image.set_sform(AFFINE, code=sform)
        image.set_qform(AFFINE, code=qform)
        header = image.header
        header["pixdim"][3] = value
        header["vox_offset"] = header.single_vox_offset
        header["scl_slope"], header["scl_inter"] = 1, 0
        content = header.binaryblock + bytes(4) + image.get_fdata().astype(np.int16).tobytes(order="F")
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    @pytest.mark.parametrize("kind", ["nifti1", "nifti2"])
    @pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
    @pytest.mark.parametrize("qform", [1, 0], ids=["qform alone", "no codes"])
    def test_nifti_whose_pixdim_is_no_spacing(self, tmp_path, caplog, value, kind, name, qform):
        path = self.without_spacing(tmp_path / name, kind, value, qform=qform)
        message = refused(path, UnsupportedVolumeError, "no sform, and spacings of 0.7 x 0.7 x")
        assert f"x {value:g}." in message
        assert caplog.records == []  # nibabel repairs the header aloud

    @pytest.mark.parametrize("qform", [0, 1])
    def test_nifti_whose_sform_gives_the_spacing_is_read(self, tmp_path, caplog, qform):
        path = self.without_spacing(tmp_path / "scan.nii", "nifti1", 0.0, sform=1, qform=qform)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            volume = read_volume(path)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
        np.testing.assert_array_equal(volume.voxels, hu((20, 20, 20)))
        assert caplog.records == []  # nibabel repairs the header aloud

    def test_negative_pixdim_is_a_length(self, tmp_path):
        path = self.without_spacing(tmp_path / "scan.nii", "nifti1", -2.0, qform=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_allclose(read_volume(path).spacing, (0.7, 0.7, 2.0), rtol=1e-5)

    def test_zero_spacing_mha(self, tmp_path):
        path = tmp_path / "scan.mha"
        header = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 0 1 1\nDimSize = 4 4 4\n"
            "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        )
        path.write_bytes(header.encode() + bytes(128))
        refused(path, UnsupportedVolumeError, "zero spacing")

    def test_singular_nrrd(self, tmp_path):
        path = tmp_path / "scan.nrrd"
        header = (
            "NRRD0005\ntype: int16\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 4 4\n"
            "space directions: (1,0,0) (1,0,0) (0,0,1)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
            "space origin: (0,0,0)\n\n"
        )
        path.write_bytes(header.encode() + bytes(128))
        refused(path, UnsupportedVolumeError, "singular")

    def test_dicom_without_a_place(self, tmp_path):
        def edit(_k, dataset):
            del dataset.ImageOrientationPatient

        write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(edit=edit))
        refused(tmp_path / "scan", UnsupportedVolumeError, "no position, orientation or pixel spacing")

    def test_dicom_with_crooked_axes(self, tmp_path):
        def edit(_k, dataset):
            dataset.ImageOrientationPatient = [1, 0, 0, 0.5, 1, 0]

        write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(edit=edit))
        refused(tmp_path / "scan", UnsupportedVolumeError, "the directions")

    def test_dicom_with_zero_spacing(self, tmp_path):
        def edit(_k, dataset):
            dataset.PixelSpacing = [0, 0]

        write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(edit=edit))
        refused(tmp_path / "scan", UnsupportedVolumeError, "spacings 0 x 0 x 2")


class TestIrregularSeries:
    def test_missing_slices(self, tmp_path):
        write_series(tmp_path / "scan", hu((9, 8, 12)), AFFINE, SeriesOptions(edit=lambda k, _: k not in (4, 5, 9)))
        message = refused(tmp_path / "scan", UnsupportedVolumeError, "2 gaps, about 3 slices missing")
        assert "every 2 mm" in message

    def test_uneven_slices(self, tmp_path):
        def edit(k, dataset):
            dataset.ImagePositionPatient[2] -= 0.3 * k if k > 5 else 0

        write_series(tmp_path / "scan", hu((9, 8, 12)), AFFINE, SeriesOptions(edit=edit))
        refused(tmp_path / "scan", UnsupportedVolumeError, "gaps|away from an even spacing")

    def test_gantry_tilt(self, tmp_path):
        tilted = AFFINE.copy()
        tilted[1, 2] = 2 * np.tan(np.deg2rad(15))
        write_series(tmp_path / "scan", hu(), tilted)
        assert "dcm2niix" in refused(tmp_path / "scan", UnsupportedVolumeError, r"15\.0 degrees \(gantry tilt\)")

    def test_mixed_sizes(self, tmp_path):
        def edit(k, dataset):
            if k == 2:
                dataset.Rows, dataset.Columns = 4, 4
                dataset.PixelData = bytes(32)

        write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(edit=edit))
        refused(tmp_path / "scan", UnsupportedVolumeError, r"9 x 8 \(5\), 4 x 4 \(1\)")

    def test_mixed_pixel_spacing(self, tmp_path):
        def edit(k, dataset):
            if k == 2:
                dataset.PixelSpacing = [0.9, 0.9]

        write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(edit=edit))
        refused(tmp_path / "scan", UnsupportedVolumeError, "0.9 x 0.9 mm")

    def test_several_images_at_one_place(self, tmp_path):
        def edit(k, dataset):
            dataset.ImagePositionPatient[2] = -300 + 2 * (k // 2)

        write_series(tmp_path / "scan", hu((9, 8, 12)), AFFINE, SeriesOptions(edit=edit))
        refused(tmp_path / "scan", UnsupportedVolumeError, "several different images")

    def test_no_rescale_tags(self, tmp_path):
        write_series(tmp_path / "scan", hu(), AFFINE, SeriesOptions(slope=None))
        assert "0028,1052" in refused(tmp_path / "scan", UnsupportedVolumeError, "6 of 6 slices without them")

    def test_multiframe_with_repeated_positions(self, tmp_path):
        write_multiframe(tmp_path / "scan.dcm", hu(), AFFINE, order=(0, 1, 2, 2, 3, 4, 5))
        refused(tmp_path / "scan.dcm", UnsupportedVolumeError, "several different images")


class TestDoubtfulValues:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_some_non_finite_voxels_are_replaced_and_warned_about(self, tmp_path, value):
        values = hu((20, 20, 20)).astype(np.float32)
        values[:3] = value
        with pytest.warns(VolumeWarning, match="1200 voxels were NaN or infinite"):
            volume = read_volume(save(tmp_path / "scan.nii.gz", values))
        assert np.isfinite(volume.voxels).all()
        assert (volume.voxels[:3] == values[3:].min()).all()
        np.testing.assert_array_equal(volume.voxels[3:], values[3:])

    def test_mostly_non_finite_is_refused(self, tmp_path):
        values = hu((20, 20, 20)).astype(np.float32)
        values[:12] = np.nan
        refused(save(tmp_path / "scan.nii.gz", values), UnsupportedVolumeError, "NaN or infinity in 4800 of 8000")

    @pytest.mark.parametrize(
        ("values", "doubt"),
        [
            (np.random.default_rng(0).integers(0, 256, (20, 20, 20)).astype(np.uint8), "8-bit image of one window"),
            (hu((20, 20, 20)) / np.float32(1500), "scaled for a network"),
            (hu((20, 20, 20)) + np.int16(1024), "was the offset"),
            (np.abs(hu((20, 20, 20))) // 3 + np.int16(1), "no air"),
            (np.where(hu((20, 20, 20)) < 700, -2024, 100).astype(np.int16), "offset applied twice"),
            (np.full((20, 20, 20), 7, dtype=np.int16), "the image is empty"),
        ],
    )
    def test_no_hounsfield_units(self, tmp_path, values, doubt):
        with pytest.warns(VolumeWarning, match=doubt):
            volume = read_volume(save(tmp_path / "scan.nii.gz", values))
        assert volume.unit == "unknown"
        assert any(doubt in text for text in check_volume(volume))

    def test_little_coverage_and_thick_slices(self, tmp_path):
        thick = AFFINE @ np.diag([1, 1, 4, 1])
        with pytest.warns(VolumeWarning) as caught:
            volume = read_volume(save(tmp_path / "scan.nii.gz", hu(), thick))
        texts = " ".join(str(warning.message) for warning in caught)
        assert "less than a chest" in texts
        assert "0.7 x 0.7 x 8 mm" in texts
        assert volume.unit == "HU"

    def test_a_chest_is_not_doubted(self, tmp_path):
        values = np.random.default_rng(0).integers(-1000, 400, (60, 60, 40)).astype(np.int16)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            volume = read_volume(save(tmp_path / "scan.nii.gz", values, np.diag([-5.0, -5, 5, 1])))
        assert check_volume(volume) == ()
        assert volume.unit == "HU"
