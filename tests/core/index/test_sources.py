"""Which scans files, folders and tables stand for, and what a table says of them."""

from __future__ import annotations

import csv
import datetime
import shutil
from pathlib import Path

import pytest

from colipri_core.errors import UnreadableInputError
from colipri_core.index.sources import find_sources
from colipri_core.index.table import read_reports


def write(path: Path, columns: list[str], *rows: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("p1/ct.nii.gz", "p2/ct.nii.gz", "p2/sub-a_dseg.nii.gz", "p2/mask.seg.nrrd", "notes.txt", ".x/b.nii"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    return tmp_path / "tree"


def test_a_folder_stands_for_the_scans_below_it_and_not_for_labelmaps(tree: Path) -> None:
    assert {source.case: source.path for source in find_sources([tree])} == {
        "p1/ct": str(tree / "p1" / "ct.nii.gz"),
        "p2/ct": str(tree / "p2" / "ct.nii.gz"),
    }


def test_dicom_folders_are_one_scan_each(shared_data: Path, tmp_path: Path) -> None:
    for name in ("example_ct_dicom", "rspect_demo"):
        shutil.copytree(shared_data / "dicom" / name, tmp_path / "study" / name)
    first, second = find_sources([tmp_path])
    assert first.case == "study/example_ct_dicom"
    assert second.case.startswith("study/rspect_demo/")
    (single,) = find_sources([tmp_path / "study" / "example_ct_dicom"])
    assert (single.case, single.path) == ("example_ct_dicom", str(tmp_path / "study" / "example_ct_dicom"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="found none"):
        find_sources([tmp_path])


def test_reports_are_joined_by_name_or_last_part_or_path(tree: Path, tmp_path: Path) -> None:
    scans = [tree]
    by_name = write(tmp_path / "a.csv", ["case", "report"], ["p1/ct", "One."], ["p2/ct.nii.gz", "Two."])
    by_path = write(tmp_path / "b.csv", ["image", "findings", "impression"], ["tree/p2/ct.nii.gz", "F.", "I."])
    assert [source.report for source in find_sources(scans, by_name)] == ["One.", "Two."]
    assert [source.report for source in find_sources(scans, by_path)] == ["", "FINDINGS:\nF.\n\nIMPRESSION:\nI."]


def test_everything_a_row_can_say(tmp_path: Path) -> None:
    columns = ["VolumeName", "Findings_EN", "Labels", "label:Lung nodule", "Cardiomegaly", "AGE", "Sex", "date", "tags"]
    row = ["a.nii.gz", "\u6c14\u80bf", "emphysema; scar", "1", "0", "61.5", "female", "2024-05-31", "follow-up; ward 3"]
    (known,) = read_reports(write(tmp_path / "t.csv", columns, row))
    assert (known.case, known.report) == ("a", "FINDINGS:\n\u6c14\u80bf")
    assert known.findings == ("emphysema", "scar", "Lung nodule")
    assert (known.age, known.sex, known.date) == (61.5, "F", datetime.date(2024, 5, 31))
    assert known.tags == ("follow-up", "ward 3")


def test_a_table_without_labels_leaves_them_to_the_report(tmp_path: Path) -> None:
    (known,) = read_reports(write(tmp_path / "t.csv", ["case", "report"], ["a", "Text."]))
    assert known.findings is None


def test_a_labelling_project_lists_its_scans(tree: Path, tmp_path: Path) -> None:
    table = write(
        tmp_path / "manifest.csv",
        ["id", "image", "patient", "split", "report", "label:Emphysema"],
        ["one", "tree/p1/ct.nii.gz", "p1", "train", "Text.", "1"],
    )
    (source,) = find_sources([table])
    assert (source.case, source.path) == ("one", str(tree / "p1" / "ct.nii.gz"))
    assert (source.report, source.findings) == ("Text.", ("Emphysema",))


def test_a_report_of_a_megabyte_is_read_whole(tmp_path: Path) -> None:
    text = "word " * 210_000
    (known,) = read_reports(write(tmp_path / "t.csv", ["case", "report"], ["a", text]))
    assert known.report == text.strip()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"case,report\na,\xff\xfe\n", "UTF-8"),
        (b"colour,taste\nred,sweet\n", "colour, taste"),
        (b"", "no columns"),
        (b'case,age\n"a",old\n', "line 2"),
        (b"case,sex\na,7\n", "line 2"),
        (b"case,date\na,31.5.2024\n", "2024-05-31"),
        (b'case,report\na,"never closed\n', "UTF-8"),
    ],
)
def test_a_bad_table_is_refused_in_words(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UnreadableInputError, match=said):
        read_reports(path)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match=r"t.csv"):
        read_reports(tmp_path / "t.csv")
