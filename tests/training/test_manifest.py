"""Manifests: what is read, what stops the reading, what is noted and passed over."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from colipri_training.data.manifest import Correction
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import ManifestError
from colipri_training.data.manifest import join_report
from colipri_training.data.manifest_files import read_manifest
from colipri_training.data.manifest_files import write_manifest

COLUMNS = ["id", "image", "patient", "split", "report", "label:Emphysema"]
ROW = ["a", "a.nii.gz", "p1", "train", "Emphysema.", "1"]
OTHER = ["b", "b.nii.gz", "p2", "test", "none", ""]


def table(folder: Path, rows: list[list[str]], columns: list[str] = COLUMNS) -> Path:
    path = folder / "manifest.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def changed(column: str, value: str) -> list[str]:
    return [value if name == column else cell for name, cell in zip(COLUMNS, ROW, strict=True)]


def test_csv_is_read(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, [ROW, OTHER]))

    first, second = manifest.entries
    assert first == Entry(
        id="a", image=tmp_path / "a.nii.gz", patient="p1", split="train", report="Emphysema.", labels={"Emphysema": 1}
    )
    assert (second.report, second.labels, manifest.notes) == (None, {}, ())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_written_manifest_reads_back(tmp_path: Path, suffix: str) -> None:
    fix = Correction(slope=1.0, intercept=-1024.5, affine=tuple(0.1 * number for number in range(16)))
    entries = (
        Entry(
            id="a", image=tmp_path / "sub" / "a.nii.gz", patient="p", split="train", report='Said "no".\nNext, line.'
        ),
        Entry(id="b", image=tmp_path.parent / "b", patient="q", split="test", labels={"Mass, any": 0}, correction=fix),
    )
    write_manifest(tmp_path / f"m.{suffix}", Manifest(entries=entries))

    again = read_manifest(tmp_path / f"m.{suffix}")
    assert again == Manifest(entries=entries)


def test_parquet_with_numbers_and_nulls(tmp_path: Path) -> None:
    columns = {"id": [1, 2], "image": ["a", "b"], "patient": [7, 8], "split": ["train", "train"]}
    more = {"report": ["Clear.", None], "label:Emphysema": pyarrow.array([1, None], pyarrow.int8())}
    pyarrow.parquet.write_table(pyarrow.table(columns | more), tmp_path / "m.parquet")

    manifest = read_manifest(tmp_path / "m.parquet")
    assert [entry.id for entry in manifest.entries] == ["1", "2"]
    assert [dict(entry.labels) for entry in manifest.entries] == [{"Emphysema": 1}, {}]
    assert manifest.notes == ()


def test_parquet_with_truth_values_as_labels(tmp_path: Path) -> None:
    columns = {"id": ["a", "b", "c"], "image": ["a", "b", "c"], "patient": ["a", "b", "c"], "split": ["train"] * 3}
    pyarrow.parquet.write_table(pyarrow.table(columns | {"label:Mass": [True, False, None]}), tmp_path / "m.parquet")
    assert [dict(entry.labels) for entry in read_manifest(tmp_path / "m.parquet").entries] == [
        {"Mass": 1},
        {"Mass": 0},
        {},
    ]


@pytest.mark.parametrize(
    "report", [["Clear.", "Normal."], b"Clear.", {"findings": "Clear."}], ids=["list", "raw", "map"]
)
def test_parquet_with_reports_that_are_no_text_stops(tmp_path: Path, report: object) -> None:
    columns = {"id": ["a"], "image": ["a"], "patient": ["a"], "split": ["train"], "report": [report]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match=r'texts and numbers in "m.parquet", found .* the columns report \('):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize("name", ["sub/../a.nii.gz", "./a.nii.gz", "link.nii.gz", "there/a.nii.gz"])
def test_an_image_by_another_name_is_the_same_image(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "there").symlink_to(tmp_path)
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    with pytest.raises(ManifestError, match="every image once"):
        read_manifest(table(tmp_path, [ROW, ["b", name, "p2", "test", "none", ""]]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ["a", "b.nii.gz", "p2", "train", "x", ""]], "every id once.*: a\\."),
        ([ROW, ["A", "b.nii.gz", "p2", "train", "x", ""]], "every id once"),
        ([ROW, ["b", "a.nii.gz", "p2", "train", "x", ""]], "every image once"),
        ([ROW, ["b", "b.nii.gz", "p1", "test", "x", ""]], r"one split, found 1 in several: p1 \(test, train\)"),
        ([changed("split", "holdout")], "split 'holdout'. Expected one of train, validation, test"),
        ([changed("patient", "")], "names no patient"),
        ([changed("id", "")], "Expected an id"),
        ([changed("id", "../a")], r"Expected an id .* found '\.\./a'"),
        ([changed("label:Emphysema", "2")], "Row 2.*must be 0, 1 or empty, got '2'"),
        ([changed("label:Emphysema", "yes")], "Row 2 .*id 'a'"),
        ([ROW[:-1]], "more or fewer cells"),
        ([[*ROW, "more"]], "more or fewer cells"),
        ([], "names no volume"),
    ],
)
def test_what_would_spoil_an_experiment_stops(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(table(tmp_path, rows))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["id", "image", "patient", "spilt", "report", "label:Emphysema"], "Missing: split. Unknown: spilt"),
        (["id", "image", "patient", "split", "Emphysema", "report"], "Unknown: Emphysema"),
        (["id", "image", "patient", "split", "report", "report"], "Twice: report"),
        (["id", "image", "patient", "split", "report", ""], "Unknown: a column without a name. Twice: none"),
    ],
)
def test_wrong_columns_stop(tmp_path: Path, columns: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(table(tmp_path, [ROW], columns))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("slope", "zero"),
        ("slope", "0"),
        ("slope", "inf"),
        ("slope", "nan"),
        ("intercept", "a"),
        ("intercept", "-inf"),
        ("affine", "1 2 3"),
        ("affine", "nan " * 16),
    ],
)
def test_corrections_that_are_none_stop(tmp_path: Path, column: str, value: str) -> None:
    columns = ["id", "image", "patient", "split", column]
    with pytest.raises(ManifestError, match="Row 2"):
        read_manifest(table(tmp_path, [[*ROW[:4], value]], columns))


def test_files_of_another_kind_stop(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"id,image\n\xff\xfe")
    (tmp_path / "m.parquet").write_bytes(b"not parquet at all")
    for name, message in (
        ("m.csv", "CSV table in UTF-8"),
        ("m.parquet", "Parquet"),
        ("m.xlsx", "ends in"),
        ("no.csv", "nothing there"),
    ):
        with pytest.raises(ManifestError, match=message):
            read_manifest(tmp_path / name)


def test_empty_reports_are_noted_and_read_as_image_only(tmp_path: Path) -> None:
    empty = [changed("report", text) for text in ("", "  ", "nan", "Not given.")]
    rows = [[f"s{number}", f"{number}.nii.gz", f"p{number}", *row[3:]] for number, row in enumerate([*empty, OTHER])]
    manifest = read_manifest(table(tmp_path, rows))

    assert [entry.report for entry in manifest.entries] == [None] * 5
    assert len(manifest.notes) == 1
    assert manifest.notes[0].startswith("4 reports are empty; their volumes count as image only: s0, s1, s2, s3.")


def test_labels_without_an_image_are_noted_and_skipped(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, [ROW, ["b", "", "p2", "train", "Clear.", "1"]]))

    assert [entry.id for entry in manifest.entries] == ["a"]
    assert manifest.notes == ("1 rows name no image and were skipped: b.",)


def test_reports_are_joined_from_what_is_there() -> None:
    assert join_report("Clear lungs.", "Normal.") == "Findings: Clear lungs.\nImpression: Normal."
    assert join_report("Not given.", " Normal. ") == "Impression: Normal."
    assert join_report(None, "nan") is None
