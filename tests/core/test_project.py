"""A label project finds its scans, keeps its marks, and refuses what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import Dataset

from colipri_core.errors import UnreadableInputError
from colipri_core.project import PROJECT_FILE
from colipri_core.project import LabelProject

SCANS = ["a.nii.gz", "b.nrrd", "c", "d.MHA"]


def write_dicom(path: Path, modality: str) -> None:
    """A DICOM object with the header of an image, if its modality has one."""
    dataset = Dataset()
    dataset.Modality = modality
    if modality != "SR":
        dataset.Rows = dataset.Columns = 4
    dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    path.write_bytes(bytes(128) + b"DICM" + path.read_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.nii.gz", "b.nrrd", "d.MHA", "notes.txt", "a_dseg.nii.gz", "b.seg.nrrd", ".hidden.nii"):
        (tmp_path / name).touch()
    (tmp_path / "c").mkdir()
    write_dicom(tmp_path / "c" / "IM0001", "CT")
    (tmp_path / "empty").mkdir()
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits" / "a.colipri-edits").touch()
    return tmp_path


def test_scans_are_found_and_labelmaps_journals_and_notes_are_not(folder: Path) -> None:
    project = LabelProject(folder)
    assert [case.name for case in project.cases] == SCANS
    assert project.path("c") == folder / "c"
    assert project.progress() == {"open": 4, "done": 0, "review": 0}


def test_folders_of_notes_masks_and_reports_are_no_scans(folder: Path) -> None:
    for name in (
        "notes/a.txt",
        "masks/a.seg.nrrd",
        "masks/b_dseg.nii.gz",
        "maps/a_desc-nodule_map.mha",
        "d.nii_map.nii",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "results").mkdir()
    for modality in ("SEG", "SR"):
        write_dicom(folder / "results" / f"{modality}.dcm", modality)
    (folder / "p1" / "ct" / "deep").mkdir(parents=True)
    (folder / "p1" / "ct" / "deep" / "scan.nii.gz").touch()
    assert [case.name for case in LabelProject(folder).cases] == [*SCANS, "p1"]


def test_marks_outlive_the_project_and_new_scans_join(folder: Path) -> None:
    LabelProject(folder).mark("a.nii.gz", "done")
    project = LabelProject(folder)
    project.mark("c", "review")
    (folder / "e.nii").touch()
    (folder / "a.nii.gz").unlink()
    again = LabelProject(folder)
    assert [(case.name, case.mark) for case in again.cases] == [
        ("b.nrrd", "open"),
        ("c", "review"),
        ("d.MHA", "open"),
        ("e.nii", "open"),
    ]
    assert again.progress() == {"open": 3, "done": 0, "review": 1}


def test_stepping_stops_at_the_ends_and_the_next_open_case_goes_round(folder: Path) -> None:
    project = LabelProject(folder)
    assert project.step(None, 1) == "a.nii.gz"
    assert project.step("a.nii.gz", 1) == "b.nrrd"
    assert project.step("a.nii.gz", -1) is None
    assert project.step("d.MHA", 1) is None
    assert project.step(None, -1) == "d.MHA"
    project.mark("d.MHA", "done")
    assert project.next_open("c") == "a.nii.gz"
    for name in SCANS:
        project.mark(name, "done")
    assert project.next_open() is None


def test_a_mark_that_cannot_be_saved_is_not_made(folder: Path) -> None:
    project = LabelProject(folder)
    with pytest.raises(ValueError, match="review"):
        project.mark("c", "perhaps")
    with pytest.raises(KeyError):
        project.mark("z", "done")
    (folder / PROJECT_FILE).mkdir()
    with pytest.raises(OSError, match=PROJECT_FILE):
        project.mark("c", "done")
    assert project.progress()["done"] == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 9, "marks": {}}', '{"version": 1, "marks": {"a": "x"}}'])
def test_a_damaged_project_file_is_refused(folder: Path, text: str) -> None:
    (folder / PROJECT_FILE).write_text(text)
    with pytest.raises(UnreadableInputError, match="Move it away"):
        LabelProject(folder)


def test_folders_that_are_no_project_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="found none"):
        LabelProject(tmp_path)
    with pytest.raises(UnreadableInputError, match="Choose a folder"):
        LabelProject(tmp_path / "absent")


def test_the_file_says_what_it_is(folder: Path) -> None:
    LabelProject(folder).mark("c", "done")
    document = json.loads((folder / PROJECT_FILE).read_text())
    assert document == {"format": "colipri-project", "version": 1, "marks": {"c": "done"}}
