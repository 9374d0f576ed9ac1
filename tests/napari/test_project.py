"""Working through a folder of scans: open, step, mark, and each case's own edits."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenes import chest_like

from colipri_core.errors import UnreadableInputError
from colipri_core.io import write_volume
from colipri_core.project import LabelProject
from napari_colipri.panels.project import case_note


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, name in enumerate(("one", "two", "three")):
        volume = chest_like()
        write_volume(volume.replace_voxels(volume.voxels + number), scans / f"{number}-{name}.nii.gz")
    return scans


@pytest.fixture
def desk(dock, folder: Path, settle):
    dock.project_panel.desk.open(folder)
    settle(dock)
    return dock.project_panel.desk


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def test_a_project_opens_its_first_case_to_do_in_place_of_what_was_shown(desk, dock, viewer) -> None:
    assert names(viewer) == ["0-one"]
    assert dock.workflow.layer == viewer.layers[0]
    assert dock.project_panel.count.text() == "0 of 3 done"
    assert not dock.project_panel.previous.isEnabled()


def test_cases_are_stepped_through_and_marked(desk, dock, viewer, folder: Path, settle) -> None:
    panel = dock.project_panel
    panel.done.click()
    panel.following.click()
    settle(dock)
    assert names(viewer) == ["1-two"]
    panel.review.click()
    assert panel.count.text() == "1 of 3 done, 1 to review"
    assert panel.bar.value() == 1
    panel.next_open.click()
    settle(dock)
    assert names(viewer) == ["2-three"]
    assert not panel.following.isEnabled()
    panel.previous.click()
    settle(dock)
    assert panel.review.isChecked()
    panel.review.click()
    assert [case.mark for case in LabelProject(folder).cases] == ["done", "open", "open"]


def test_each_case_has_its_own_edits_in_the_projects_folder(desk, dock, viewer, folder: Path, settle) -> None:
    dock.labelling.begin()
    settle(dock)
    viewer.layers["labels: 0-one"].paint((3, 5, 5), 1)
    settle(dock)
    desk.step(1)
    settle(dock)
    assert names(viewer) == ["1-two"]
    assert dock.labelling.sheet is None
    dock.labelling.begin()
    settle(dock)
    assert not viewer.layers["labels: 1-two"].data.any()
    desk.step(-1)
    settle(dock)
    dock.labelling.begin()
    settle(dock)
    assert viewer.layers["labels: 0-one"].data[3, 5, 5] == 1
    assert len(list((folder / "edits").glob("*.colipri-edits"))) == 2


def test_no_marks_stay_above_labels_that_are_gone(desk, dock, viewer, settle) -> None:
    dock.labelling.begin()
    settle(dock)
    gone = []
    viewer.layers.events.removed.connect(lambda event: gone.append(event.value.name))
    desk.step(1)
    settle(dock)
    assert gone == ["prompts: 0-one", "labels: 0-one", "0-one"]


def test_a_scan_that_cannot_be_read_is_said_and_the_case_before_stays(desk, dock, viewer, folder: Path, settle) -> None:
    (folder / "1-two.nii.gz").write_bytes(b"no image")
    desk.step(1)
    settle(dock)
    assert names(viewer) == ["0-one"]
    assert "1-two.nii.gz" in dock.error_bar.label.text()
    assert desk.current == "0-one.nii.gz"


def test_a_folder_without_scans_is_refused(dock, tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="found none"):
        dock.project_panel.desk.open(tmp_path)


def test_the_least_sure_cases_come_first_and_next_goes_to_them(desk, dock, folder: Path, settle, engine) -> None:
    unsure = {"0-one.nii.gz": 0.1, "1-two.nii.gz": 0.2, "2-three.nii.gz": 0.6}
    engine.uncertainty = lambda volume: unsure[f"{volume.name}.nii.gz"]
    panel = dock.project_panel
    panel.rank.click()
    settle(dock)
    assert [row.name for row in panel.model.rows] == ["2-three.nii.gz", "1-two.nii.gz", "0-one.nii.gz"]
    assert [case_note(row) for row in panel.model.rows] == ["0.60", "0.20", "0.10"]
    assert "ranked by scripted" in panel.count.text()
    assert desk.current == "0-one.nii.gz"
    panel.next_open.click()
    settle(dock)
    assert desk.current == "2-three.nii.gz"
    assert LabelProject(folder).ranked["2-three.nii.gz"].value == 0.6


def test_a_ranking_is_cancelled_and_keeps_its_answers(desk, dock, folder: Path, settle, engine, qtbot) -> None:
    asked = []

    def unsure(volume) -> float:
        asked.append(volume.name)
        if len(asked) == 2:
            dock.jobs.cancel()
        return 0.5

    engine.uncertainty = unsure
    dock.project_panel.rank.click()
    settle(dock)
    known = LabelProject(folder).ranked
    assert 1 <= len(known) < 3
    assert len(dock.project_panel.desk.project.ranked) == len(known)


def test_a_scan_that_cannot_be_ranked_is_named_and_the_others_are_ranked(desk, dock, folder, settle, engine) -> None:
    engine.uncertainty = lambda _volume: 0.3
    (folder / "1-two.nii.gz").write_bytes(b"no image")
    dock.project_panel.rank.click()
    settle(dock)
    assert "1-two.nii.gz" in dock.error_bar.label.text()
    assert set(LabelProject(folder).ranked) == {"0-one.nii.gz", "2-three.nii.gz"}
