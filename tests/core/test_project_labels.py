"""A project's labels are found where the labeller left them: in a journal, or in a labelmap beside the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Paint
from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.io import write_volume
from colipri_core.project import LabelProject
from colipri_core.project_labels import labelled_case
from colipri_core.project_labels import labelled_cases
from colipri_core.prompts import Crop
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

AFFINE = np.array([[-2.0, 0, 0, 40], [0, -2.0, 0, 40], [0, 0, 3.0, -20], [0, 0, 0, 1.0]])


@pytest.fixture
def project(tmp_path: Path) -> LabelProject:
    for number, name in enumerate(("a", "b", "c")):
        voxels = np.full((16, 14, 12), -800 + number, dtype=np.int16)
        write_volume(Volume(voxels=voxels, affine=AFFINE), tmp_path / f"{name}.nii.gz")
    return LabelProject(tmp_path)


def save_labels(project: LabelProject, name: str, file: str, *, shift: float = 0.0) -> np.ndarray:
    volume = read_volume(project.path(name))
    labelmap = np.zeros(volume.shape, dtype=np.uint8)
    labelmap[3:9, 2:7, 4:8] = 2
    geometry = Volume(voxels=volume.voxels, affine=volume.affine + np.diag([0, 0, 0, 0]) + _moved(shift)).geometry
    labels = Segmentation(labelmap=labelmap, geometry=geometry, segments=(Segment(label=2, name="Thymus"),))
    write_labelmap(labels, project.folder / file)
    return labelmap


def _moved(shift: float) -> np.ndarray:
    moved = np.zeros((4, 4))
    moved[0, 3] = shift
    return moved


@pytest.mark.parametrize("file", ["a_dseg.nii.gz", "a.seg.nrrd", "sub-a_desc-thymus_dseg.nii.gz", "a_x_dseg.mha"])
def test_a_labelmap_beside_the_scan_is_found_by_its_name(project: LabelProject, file: str) -> None:
    labelmap = save_labels(project, "a.nii.gz", file)
    found = labelled_case(LabelProject(project.folder), "a.nii.gz")
    assert found is not None
    names = {segment.label: segment.name for segment in found.labels.segments}
    (label,) = set(np.unique(found.labels.labelmap)) - {0}
    assert names[label] == "Thymus"
    np.testing.assert_array_equal(found.labels.labelmap > 0, labelmap > 0)
    assert labelled_case(project, "b.nii.gz") is None


@pytest.mark.parametrize(
    ("first", "second"), [("p1", "p1_baseline"), ("sub-01", "sub-01_ses-2"), ("scan 1", "scan 1_b")]
)
def test_a_labelmap_is_of_the_case_that_most_of_its_name_names(tmp_path: Path, first: str, second: str) -> None:
    for number, name in enumerate((first, second)):
        voxels = np.full((16, 14, 12), -800 + number, dtype=np.int16)
        write_volume(Volume(voxels=voxels, affine=AFFINE), tmp_path / f"{name}.nii.gz")
    project = LabelProject(tmp_path)
    save_labels(project, f"{second}.nii.gz", f"{second}_dseg.nii.gz")
    assert labelled_case(project, f"{first}.nii.gz") is None
    assert labelled_case(project, f"{second}.nii.gz") is not None
    save_labels(project, f"{first}.nii.gz", f"{first}_dseg.nii.gz")
    (tmp_path / f"{second}_dseg.nii.gz").unlink()
    assert labelled_case(project, f"{first}.nii.gz") is not None
    assert labelled_case(project, f"{second}.nii.gz") is None


def test_a_labelmap_that_may_be_of_two_cases_is_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("case 1", "case1")):
        voxels = np.full((16, 14, 12), -800 + number, dtype=np.int16)
        write_volume(Volume(voxels=voxels, affine=AFFINE), tmp_path / f"{name}.nii.gz")
    project = LabelProject(tmp_path)
    save_labels(project, "case 1.nii.gz", "sub-case1_desc-x_dseg.nii.gz")
    for name in ("case 1.nii.gz", "case1.nii.gz"):
        with pytest.raises(UnreadableInputError, match="Rename the file"):
            labelled_case(project, name)


def test_the_labels_of_a_scan_that_was_renamed_are_found_in_its_journal(project: LabelProject) -> None:
    editor = LabelEditor(read_volume(project.path("a.nii.gz")), autosave=project.edits)
    editor.apply(Paint(voxels=Crop(lower=(1, 1, 1), mask=np.ones((3, 3, 3), dtype=bool)), label=1))
    editor.close()
    project.path("a.nii.gz").rename(project.folder / "a_checked.nii.gz")
    assert labelled_case(LabelProject(project.folder), "a_checked.nii.gz") is not None


def test_the_journal_is_what_counts_and_may_be_open_meanwhile(project: LabelProject) -> None:
    save_labels(project, "a.nii.gz", "a_dseg.nii.gz")
    editor = LabelEditor(read_volume(project.path("a.nii.gz")), autosave=project.edits)
    editor.apply(AddObject(name="Nodule", label=1))
    for corner in (1, 5):
        mask = np.ones((3, 3, 3), dtype=bool)
        editor.apply(Paint(voxels=Crop(lower=(corner, 1, 1), mask=mask), label=1))
    editor.undo()
    found = labelled_case(project, "a.nii.gz")
    assert found is not None
    np.testing.assert_array_equal(found.labels.labelmap, editor.labelmap)
    assert [segment.name for segment in found.labels.segments] == ["Nodule"]
    editor.close()


def test_cases_marked_done_are_taken_and_all_others_on_request(project: LabelProject) -> None:
    for name in ("a", "b"):
        save_labels(project, f"{name}.nii.gz", f"{name}_dseg.nii.gz")
    with pytest.raises(UnreadableInputError, match="marked done and labelled, found none of 3"):
        labelled_cases(project)
    project.mark("b.nii.gz", "done")
    project.mark("c.nii.gz", "done")
    assert [case.name for case in labelled_cases(project)] == ["b.nii.gz"]
    assert [case.name for case in labelled_cases(project, only_done=False)] == ["a.nii.gz", "b.nii.gz"]


def test_labels_of_another_place_and_damaged_edits_are_refused(project: LabelProject) -> None:
    save_labels(project, "a.nii.gz", "a_dseg.nii.gz", shift=500.0)
    with pytest.raises(UnsupportedVolumeError, match="elsewhere"):
        labelled_case(project, "a.nii.gz")
    editor = LabelEditor(read_volume(project.path("b.nii.gz")), autosave=project.edits)
    editor.apply(Paint(voxels=Crop(lower=(0, 0, 0), mask=np.ones((2, 2, 2), dtype=bool)), label=1))
    editor.close()
    journal = next(project.edits.glob("b*.colipri-edits"))
    journal.write_bytes(journal.read_bytes().replace(b'"action"', b'"acting"'))
    assert labelled_case(project, "b.nii.gz") is None  # the record no longer has its checksum, as after a torn write
