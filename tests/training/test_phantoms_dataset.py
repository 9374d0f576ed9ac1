"""`colipri-train phantoms`: files, manifest and resuming."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from colipri_core.errors import InputError
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.cli.main import app
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import generate
from colipri_training.phantoms.dataset import column_of
from colipri_training.phantoms.dataset import name_of
from colipri_training.phantoms.dataset import write_dataset

GRID = PhantomGrid(shape=(24, 20, 24), spacing=(15.0, 15.0, 15.0))


def test_files_hold_the_generated_phantom(tmp_path: Path) -> None:
    assert list(write_dataset(tmp_path, [2, 3], GRID)) == [2, 3]
    batch = generate([3], GRID)
    stem = name_of(3)
    image = nib.load(tmp_path / f"{stem}_ct.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(image.get_fdata(), batch.hu[0].round().numpy())
    assert np.allclose(image.affine, GRID.affine)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    for part, tensor in (("structures", batch.labels), ("lesions", batch.lesions)):
        assert np.array_equal(nib.load(tmp_path / f"{stem}_{part}.nii.gz").get_fdata(), tensor[0].numpy())


def test_manifest_names_files_labels_and_split(tmp_path: Path) -> None:
    list(write_dataset(tmp_path, [7, 1_000_007], GRID))
    rows = list(csv.DictReader((tmp_path / "manifest.csv").open()))
    assert [row["split"] for row in rows] == ["train", "validation"]
    for row, case in zip(rows, generate([7, 1_000_007], GRID).cases, strict=True):
        assert (tmp_path / row["image"]).exists()
        assert {i for i, name in enumerate(CT_RATE_FINDINGS) if row[column_of(name)] == "1"} == case.present
        assert (row["findings"], row["impression"]) == (case.report.findings, case.report.impression)
        assert row["patient"] == name_of(case.seed)


def test_resuming_keeps_what_is_finished_and_redoes_what_is_not(tmp_path: Path) -> None:
    list(write_dataset(tmp_path, [1, 2], GRID))
    kept, half = tmp_path / f"{name_of(1)}_ct.nii.gz", tmp_path / f"{name_of(2)}_ct.nii.gz"
    before = kept.stat().st_mtime_ns
    half.write_bytes(b"cut short")
    (tmp_path / f"{name_of(2)}.json").unlink()
    assert sorted(write_dataset(tmp_path, [1, 2, 3], GRID)) == [1, 2, 3]
    assert kept.stat().st_mtime_ns == before
    assert nib.load(half).shape == GRID.shape
    assert len(list(csv.DictReader((tmp_path / "manifest.csv").open()))) == 3
    assert not list(tmp_path.glob(".*"))


def test_another_grid_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    list(write_dataset(tmp_path, [1], GRID))
    with pytest.raises(InputError, match="Choose another folder"):
        list(write_dataset(tmp_path, [2], PhantomGrid(shape=(10, 10, 10), spacing=(30.0, 30.0, 30.0))))


def test_two_processes_write_the_same_as_one(tmp_path: Path) -> None:
    list(write_dataset(tmp_path / "one", [1, 2], GRID))
    list(write_dataset(tmp_path / "two", [1, 2], GRID, workers=2))
    for path in (tmp_path / "one").glob("*_ct.nii.gz"):
        other = nib.load(tmp_path / "two" / path.name)
        assert np.array_equal(nib.load(path).get_fdata(), other.get_fdata())


def test_command_line_writes_a_folder(tmp_path: Path) -> None:
    arguments = ["phantoms", "--output", str(tmp_path), "--count", "2", "--first-seed", "2000000", "--spacing", "16"]
    result = CliRunner().invoke(app, [*arguments, "--shape", "24", "20", "24"])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((tmp_path / "manifest.csv").open()))
    assert [row["split"] for row in rows] == ["test", "test"]
    assert json.loads((tmp_path / "phantoms.json").read_text())["shape"] == [24, 20, 24]
