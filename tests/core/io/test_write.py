"""Writing: what is written can be read, and a failure leaves the old file."""

from __future__ import annotations

import errno
import json
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from colipri_core.errors import OutputError
from colipri_core.findings import EvidenceMap
from colipri_core.geometry import VolumeGeometry
from colipri_core.io import convert
from colipri_core.io import derivative_name
from colipri_core.io import read_volume
from colipri_core.io import write
from colipri_core.io import write_map
from colipri_core.io import write_volume
from colipri_core.io.names import derivative_case
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

AFFINE = np.array([[-0.7, 0.1, 0, 150], [-0.1, -0.7, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])
CARD = ModelCard(
    name="tiny", sha256="0" * 64, kind="colipri", training_data="Phantoms.", synthetic=True, licence="Apache-2.0"
)
PROVENANCE = Provenance(model=CARD, preprocessing={}, versions={}, device="cpu", timings={})


def volume() -> Volume:
    values = np.random.default_rng(0).integers(-1024, 1500, (9, 8, 6)).astype(np.int16)
    return Volume(voxels=values, affine=AFFINE)


@pytest.mark.parametrize("name", ["scan.png", "scan", "scan.nii.bz2", "scan.dcm"])
def test_unknown_suffixes_are_refused_with_the_list(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.nii\.gz, \.nii, \.nrrd, \.mha"):
        write_volume(volume(), tmp_path / name)


def test_a_volume_does_not_take_the_name_of_a_segmentation(tmp_path):
    for write_to in (lambda path: write_volume(volume(), path), lambda path: convert(tmp_path / "none.nii", path)):
        with pytest.raises(ValueError, match=r'"scan\.nrrd"'):
            write_to(tmp_path / "scan.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match='"results" does not exist'):
        write_volume(volume(), tmp_path / "results" / "scan.nii.gz")


def test_itk_and_nibabel_place_what_we_write_at_the_same_point(tmp_path):
    points = []
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        path = write_volume(volume(), tmp_path / f"scan{suffix}")
        points.append(SimpleITK.ReadImage(str(path)).TransformIndexToPhysicalPoint((3, 5, 2)))
    expected = volume().geometry.index_to_world((3, 5, 2)) * (-1, -1, 1)
    np.testing.assert_allclose(points, [expected] * 3, atol=1e-4)


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = write_volume(volume(), tmp_path / "scan.nii.gz")
    before = path.read_bytes()

    def full_disk(target, *_args, **_kwargs):
        target.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_nifti", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_volume(volume(), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["scan.nii.gz"]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_full_disk_is_named_with_the_file_and_the_remedy(tmp_path, monkeypatch, suffix):
    path = write_volume(volume(), tmp_path / f"scan{suffix}")
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device.+Free some space") as caught:
        write_volume(volume(), path)
    assert str(path) in str(caught.value)
    assert (caught.value.exit_code, caught.value.errno) == (3, errno.ENOSPC)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_evidence_keeps_nan_and_says_what_made_it(tmp_path):
    values = np.full((9, 8, 6), np.nan, dtype=np.float32)
    values[2:5] = 0.25
    geometry = VolumeGeometry(shape=(9, 8, 6), affine=AFFINE)
    evidence = EvidenceMap(
        text="effusion",
        values=values,
        geometry=geometry,
        peak_ras=geometry.center,
        peak_value=0.25,
        provenance=PROVENANCE,
    )
    path = write_map(evidence, tmp_path / "map.nii.gz")
    stored = np.asarray(nib.load(path).dataobj)
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, values)
    document = json.loads((tmp_path / "map.json").read_text())
    assert document["text"] == "effusion"
    assert "Research use only" in document["provenance"]["model"]["notice"]


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint32, bool])
def test_types_no_format_holds_are_narrowed(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 2, (9, 8, 6))
    path = tmp_path / "scan.nii.gz"
    write.write_array(path, ".nii.gz", values.astype(dtype), volume().geometry)
    np.testing.assert_array_equal(read_volume(path).voxels, values)


def test_convert_keeps_voxels_and_place(tmp_path):
    source = write_volume(volume(), tmp_path / "a.nrrd")
    convert(source, tmp_path / "b.nii.gz")
    found = read_volume(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(found.voxels, volume().voxels)
    assert found.geometry == volume().geometry


def test_convert_looks_at_the_target_before_it_reads(tmp_path):
    with pytest.raises(ValueError, match="must end in"):
        convert(tmp_path / "missing.nii.gz", tmp_path / "b.png")


def test_derivative_names():
    name = derivative_name("LIDC-IDRI-0001_ct", description="structures", kind="dseg", suffix=".nii.gz")
    assert name == "sub-LIDCIDRI0001ct_desc-structures_dseg.nii.gz"
    with pytest.raises(ValueError, match="letters or digits"):
        derivative_name("--", description="x", kind="map", suffix=".nii.gz")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("\u75c5\u4f8b 1", "\u75c5\u4f8b1"),
        ("M\u00fcller_2", "M\u00fcller2"),
        ("Mu\u0308ller_2", "M\u00fcller2"),
        ("\u0928\u093f \u0928\u0940", "\u0928\u093f\u0928\u0940"),
        ("sub-01/ses-2", "01ses2"),
        ("../..\\ \u0301", ""),
    ],
)
def test_a_case_keeps_its_letters_in_any_script(case, expected):
    assert derivative_case(case) == expected
    if expected:
        name = derivative_name(case, description="\u00e9panchement", kind="map", suffix=".mha")
        assert name == f"sub-{expected}_desc-\u00e9panchement_map.mha"
