"""Zip archives: what is in them is read, and what is wrong with them does no harm."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_writer import SeriesOptions
from dicom_writer import write_series

from colipri_core.errors import SeveralSeriesError
from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io import archive
from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

AFFINE = np.array([[-0.7, 0, 0, 150], [0, -0.7, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])


def hu(shape=(9, 8, 6)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 1500, shape).astype(np.int16)


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return path


def image_bytes(tmp_path: Path, suffix: str = ".nii.gz") -> bytes:
    path = tmp_path / f"image{suffix}"
    write_volume(Volume(voxels=hu(), affine=AFFINE), path)
    return path.read_bytes()


def test_dicom_series_in_folders(tmp_path):
    files = write_series(tmp_path / "scan", hu(), AFFINE)
    contents = {f"study/series {k % 2}/IM{k}": file.read_bytes() for k, file in enumerate(files)}
    volume = read_volume(packed(tmp_path / "case.zip", contents))
    assert volume.name == "case"
    assert volume.shape == (9, 8, 6)
    assert volume.metadata["dicom"]["files"] == ()


def test_files_of_the_same_name_in_two_folders(tmp_path):
    first = write_series(tmp_path / "a", hu(), AFFINE, SeriesOptions(number=1))
    second = write_series(tmp_path / "b", hu((9, 8, 4)), AFFINE, SeriesOptions(number=2))
    contents = {f"{name}/{f.name}": f.read_bytes() for name, files in (("a", first), ("b", second)) for f in files}
    path = packed(tmp_path / "case.zip", contents)
    with pytest.raises(SeveralSeriesError):
        read_volume(path)
    assert read_volume(path, series=2).shape == (9, 8, 4)


def test_one_image(tmp_path):
    path = packed(tmp_path / "case.zip", {"deep/scan.nii.gz": image_bytes(tmp_path), "README.txt": b"hello"})
    np.testing.assert_array_equal(read_volume(path).voxels, hu())


def test_several_images_are_listed(tmp_path):
    path = packed(tmp_path / "case.zip", {"a.nii.gz": image_bytes(tmp_path), "b.nrrd": image_bytes(tmp_path, ".nrrd")})
    with pytest.raises(UnsupportedVolumeError, match=r"found a.nii.gz, b.nrrd"):
        read_volume(path)


@pytest.mark.parametrize("contents", [{}, {"folder/": b""}])
def test_nothing_in_it(tmp_path, contents):
    with pytest.raises(UnreadableInputError, match="no files"):
        read_volume(packed(tmp_path / "case.zip", contents))


def test_no_image_in_it(tmp_path):
    with pytest.raises(UnreadableInputError, match="none of them a DICOM image"):
        read_volume(packed(tmp_path / "case.zip", {"a.txt": b"hello"}))


def test_truncated_archive(tmp_path):
    whole = packed(tmp_path / "whole.zip", {"scan.nii.gz": image_bytes(tmp_path)}).read_bytes()
    path = tmp_path / "case.zip"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableInputError, match="damaged, truncated or encrypted"):
        read_volume(path)


@pytest.mark.parametrize("name", ["../../evil.nii.gz", "/tmp/evil.nii.gz", "..\\..\\evil.nii.gz", "C:\\evil.nii.gz"])
def test_no_name_in_the_archive_can_leave_the_folder(tmp_path, name):
    path = packed(tmp_path / "case.zip", {name: image_bytes(tmp_path)})
    with archive.unpacked(path) as folder:
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert len(files) == 1
        assert folder.resolve() in files[0].resolve().parents
        assert not (folder.parent / "evil.nii.gz").exists()
    assert not folder.exists()
    np.testing.assert_array_equal(read_volume(path).voxels, hu())


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "case.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened,
        opened.open("scan.nii", "w", force_zip64=True) as out,
    ):
        for _ in range(100):
            out.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(UnsupportedVolumeError, match=r"0\.10 GiB packed into"):
        read_volume(path)


def test_a_member_longer_than_stated_is_stopped(tmp_path):
    path = packed(tmp_path / "case.zip", {"scan.nii": bytes(100_000)})
    data = path.read_bytes()
    # Both the local header and the directory state the size; make both lie.
    path.write_bytes(data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises((UnreadableInputError, UnsupportedVolumeError), match=r"case\.zip"):
        read_volume(path)
