"""Published file layouts become manifests: splits, patients, labels, and the HU trap of CT-RATE."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from chests import chest
from data_sets import stored_values
from data_sets import write_chest
from dicom_writer import write_series

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import ras_to_lps
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.layouts import LAYOUTS
from colipri_training.data.layouts import manifest_of
from colipri_training.data.layouts.rad_chestct import RAD_CHESTCT_COLUMNS
from colipri_training.data.manifest import ManifestError
from colipri_training.data.sources import read_source
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms.dataset import write_dataset


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def header_row(name: str, affine: np.ndarray) -> dict[str, object]:
    """The metadata of a volume as CT-RATE publishes them (DICOM: LPS)."""
    lps = ras_to_lps(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    along_row, along_column, _ = (lps[:3, :3] / spacing).T
    return {
        "VolumeName": name,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "XYSpacing": str([float(spacing[0]), float(spacing[1])]),
        "ZSpacing": float(spacing[2]),
        "ImagePositionPatient": str(lps[:3, 3].tolist()),
        "ImageOrientationPatient": str([*along_row.tolist(), *along_column.tolist()]),
    }


class CtRate:
    """A download of three volumes of CT-RATE, in either version."""

    names = ("train_1_a_1", "train_1_a_2", "valid_1_a_1")

    def __init__(self, folder: Path, *, version: int) -> None:
        self.root = folder / "dataset"
        self.volume = chest(spacing=(9.0, 9.0, 10.0)).reoriented("LPS")
        for name in self.names:
            part, patient, study = name.split("_")[0], name.rsplit("_", 2)[0], name.rsplit("_", 1)[0]
            place = self.root / (part + ("_fixed" if version == 2 else "")) / patient / study / f"{name}.nii.gz"
            place.parent.mkdir(parents=True, exist_ok=True)
            if version == 2:
                image = nib.Nifti1Image(self.volume.voxels, self.volume.affine)
            else:
                image = nib.Nifti1Image(stored_values(self.volume.voxels), np.eye(4))
            nib.save(image, place)
        self._write_tables()

    def _write_tables(self) -> None:
        for part, other in (("train", "train"), ("valid", "validation")):
            names = [f"{name}.nii.gz" for name in self.names if name.startswith(part)]
            texts = {"ClinicalInformation_EN": "", "Findings_EN": "Emphysema, left.", "Impressions_EN": "Not given."}
            reports = [{"VolumeName": name} | texts for name in [*names, f"{part}_99_a_1.nii.gz"]]
            write_table(self.root / "radiology_text_reports" / f"{other}_reports.csv", reports)
            labels = dict.fromkeys(CT_RATE_FINDINGS, 0) | {"Emphysema": 1}
            rows = [{"VolumeName": name} | labels for name in names]
            write_table(self.root / "multi_abnormality_labels" / f"{part}_predicted_labels.csv", rows)
            headers = [header_row(name, self.volume.affine) for name in names]
            write_table(self.root / "metadata" / f"{other}_metadata.csv", headers)


class TestCtRate:
    def test_volumes_reports_labels_and_splits(self, tmp_path: Path) -> None:
        CtRate(tmp_path, version=2)
        manifest = manifest_of(tmp_path, "ct-rate-v2")

        assert [entry.id for entry in manifest.entries] == list(CtRate.names)
        assert [entry.patient for entry in manifest.entries] == ["train_1", "train_1", "valid_1"]
        assert [entry.study for entry in manifest.entries] == ["train_1_a", "train_1_a", "valid_1_a"]
        assert [entry.split for entry in manifest.entries][2] == "test"
        assert {entry.report for entry in manifest.entries} == {"Findings: Emphysema, left."}
        assert manifest.entries[0].labels == dict.fromkeys(CT_RATE_FINDINGS, 0) | {"Emphysema": 1}
        assert sum("no image" in note for note in manifest.notes) == 2

    @pytest.mark.parametrize("version", [1, 2])
    def test_both_versions_give_the_same_volume(self, tmp_path: Path, version: int) -> None:
        made = CtRate(tmp_path, version=version)
        volume = read_source(manifest_of(tmp_path, f"ct-rate-v{version}").entries[0])

        assert np.array_equal(volume.voxels, made.volume.voxels)
        assert np.allclose(volume.affine, made.volume.affine, atol=1e-4)
        assert volume.unit == "HU"

    def test_version_2_rescaled_again_is_refused(self, tmp_path: Path) -> None:
        made = CtRate(tmp_path, version=2)
        for part in ("train", "valid"):
            (made.root / f"{part}_fixed").rename(made.root / part)

        with pytest.raises(UnsupportedVolumeError, match=r"expected Hounsfield units.*version of the data set"):
            read_source(manifest_of(tmp_path, "ct-rate-v1").entries[0])

    def test_version_1_not_rescaled_is_refused(self, tmp_path: Path) -> None:
        made = CtRate(tmp_path, version=1)
        for part in ("train", "valid"):
            (made.root / part).rename(made.root / f"{part}_fixed")

        with pytest.raises(UnsupportedVolumeError, match="expected Hounsfield units, found probably not"):
            read_source(manifest_of(tmp_path, "ct-rate-v2").entries[0])

    def test_volumes_that_show_no_chest_are_skipped(self, tmp_path: Path) -> None:
        made = CtRate(tmp_path, version=2)
        (made.root / "metadata" / "no_chest_train.txt").write_text(
            "dataset/train/train_1/train_1_a/train_1_a_2.nii.gz\n"
        )
        manifest = manifest_of(tmp_path, "ct-rate-v2")

        assert [entry.id for entry in manifest.entries] == ["train_1_a_1", "valid_1_a_1"]
        assert any("no chest" in note and "train_1_a_2" in note for note in manifest.notes)

    def test_volumes_without_metadata_are_skipped_in_version_1(self, tmp_path: Path) -> None:
        made = CtRate(tmp_path, version=1)
        headers = [header_row(f"{name}.nii.gz", made.volume.affine) for name in made.names[:2]]
        headers[1]["RescaleIntercept"] = ""
        write_table(made.root / "metadata" / "train_metadata.csv", headers)
        manifest = manifest_of(tmp_path, "ct-rate-v1")

        assert [entry.id for entry in manifest.entries] == ["train_1_a_1", "valid_1_a_1"]
        assert any("lack rescaling" in note and "train_1_a_2" in note for note in manifest.notes)

    def test_missing_parts_are_named(self, tmp_path: Path) -> None:
        made = CtRate(tmp_path, version=1)
        with pytest.raises(ManifestError, match=r"train_fixed.*Name the other version"):
            manifest_of(tmp_path, "ct-rate-v2")
        (made.root / "metadata" / "train_metadata.csv").unlink()
        with pytest.raises(ManifestError, match=r"train_metadata\.csv"):
            manifest_of(tmp_path, "ct-rate-v1")

    def test_the_published_tables_are_understood(self, shared_data: Path, tmp_path: Path) -> None:
        root = tmp_path / "dataset"
        write_chest(root / "valid" / "valid_1" / "valid_1_a" / "valid_1_a_1.nii.gz")
        for source, place in (
            ("ctrate_validation_metadata.csv", "metadata/validation_metadata.csv"),
            ("ctrate_valid_labels_18.csv", "multi_abnormality_labels/valid_predicted_labels.csv"),
        ):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).symlink_to(shared_data / "reports" / source)
        report = {"VolumeName": "valid_1_a_1.nii.gz", "Findings_EN": "A nodule.", "Impressions_EN": "Nodule."}
        write_table(root / "radiology_text_reports" / "validation_reports.csv", [report])
        entry = manifest_of(tmp_path, "ct-rate-v1").entries[0]

        assert entry.labels["Lung nodule"] == 1
        assert len(entry.labels) == 18
        assert entry.correction is not None
        assert (entry.correction.slope, entry.correction.intercept) == (1.0, -1024.0)
        affine = np.reshape(entry.correction.affine, (4, 4))
        assert np.allclose(np.diag(affine), (-0.341796875, -0.341796875, 1.5, 1.0))
        assert np.allclose(affine[:3, 3], (166.0, -9.0, 56.2998657))


class TestRadChestCt:
    def make(self, folder: Path) -> Path:
        volume = chest(spacing=(9.0, 9.0, 10.0)).reoriented("LPI")
        np.savez_compressed(folder / "trn00001.npz", ct=volume.voxels.transpose(2, 1, 0))
        row = {"NoteAcc_DEID": "trn00001", "hernia*lung": 0, "nodulegr1cm*left": 1, "nodule*left": 0, "mass*left": 1}
        write_table(folder / "imgtrain_Abnormality_and_Location_Labels.csv", [row, row | {"NoteAcc_DEID": "trn00002"}])
        return folder

    def test_labels_follow_the_mapping(self, tmp_path: Path) -> None:
        manifest = manifest_of(self.make(tmp_path), "rad-chestct")

        assert dict(manifest.entries[0].labels) == {"Hiatal hernia": 0, "Lung nodule": 1}
        assert any("trn00002" in note for note in manifest.notes)
        assert set(RAD_CHESTCT_COLUMNS) < set(CT_RATE_FINDINGS)
        assert len(RAD_CHESTCT_COLUMNS) == 16

    def test_arrays_are_read_in_place(self, tmp_path: Path) -> None:
        volume = read_source(manifest_of(self.make(tmp_path), "rad-chestct").entries[0])

        assert volume.orientation == "LPI"
        assert volume.spacing == pytest.approx((0.8, 0.8, 0.8))
        assert np.array_equal(volume.voxels, chest(spacing=(9.0, 9.0, 10.0)).reoriented("LPI").voxels)

    def test_the_patient_comes_from_the_metadata(self, tmp_path: Path) -> None:
        row = {"NoteAcc_DEID": "trn00001", "MRN_DEID": "MRN7"}
        write_table(tmp_path / "CT_Scan_Metadata_Complete_35747.csv", [row])

        assert manifest_of(self.make(tmp_path), "rad-chestct").entries[0].patient == "MRN7"

    @pytest.mark.parametrize("damage", ["cut", "other key"])
    def test_damaged_arrays_are_refused(self, tmp_path: Path, damage: str) -> None:
        path = self.make(tmp_path) / "trn00001.npz"
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:2000])
        else:
            np.savez_compressed(path, other=np.zeros(3))
        with pytest.raises(UnreadableInputError, match="Download it again"):
            read_source(manifest_of(tmp_path, "rad-chestct").entries[0])


def test_nlst_takes_series_and_leaves_localisers(tmp_path: Path) -> None:
    volume = chest(spacing=(20.0, 20.0, 8.0))
    hu = volume.voxels.clip(min=-1024)
    for study in ("1", "2"):
        write_series(tmp_path / "NLST" / "100012" / study / "series", hu, volume.affine)
        write_series(tmp_path / "NLST" / "100012" / study / "scout", hu[..., :3], volume.affine)
    manifest = manifest_of(tmp_path, "nlst")

    assert [(entry.patient, entry.split, entry.report) for entry in manifest.entries] == [("100012", "train", None)] * 2
    assert manifest.notes[0].startswith("2 series are too short")
    assert np.array_equal(read_source(manifest.entries[0]).reoriented("RAS").voxels, hu)


def test_phantoms_bring_reports_and_labels(tmp_path: Path) -> None:
    list(write_dataset(tmp_path, [3, 1_000_003], PhantomGrid(shape=(32, 28, 32), spacing=(12.0, 12.0, 12.0))))
    manifest = manifest_of(tmp_path, "phantoms")

    assert [entry.split for entry in manifest.entries] == ["train", "validation"]
    assert all(set(entry.labels) == set(CT_RATE_FINDINGS) for entry in manifest.entries)
    assert all((entry.report or "").startswith("Findings: ") for entry in manifest.entries)
    assert read_source(manifest.entries[0]).shape == (32, 28, 32)


def test_a_plain_folder_brings_images_and_texts_beside_them(tmp_path: Path) -> None:
    write_chest(tmp_path / "b" / "my scan.nii.gz")
    (tmp_path / "b" / "my scan.txt").write_text("Clear lungs.")
    volume = chest(spacing=(20.0, 20.0, 20.0))
    write_series(tmp_path / "a" / "dicom", volume.voxels, volume.affine)
    manifest = manifest_of(tmp_path, "folder")

    assert [(entry.id, entry.report) for entry in manifest.entries] == [
        ("a_dicom", None),
        ("b_my-scan", "Clear lungs."),
    ]
    assert "1 volumes have no report" in manifest.notes[0]


def test_layouts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Available: ct-rate-v1"):
        manifest_of(tmp_path, "mimic")
    for layout in LAYOUTS:
        with pytest.raises(ManifestError):
            manifest_of(tmp_path, layout)
