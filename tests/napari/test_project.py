"""Working through a folder of scans: open, step, mark, and each case's own edits."""

from __future__ import annotations

from pathlib import Path

import napari.utils.notifications
import numpy as np
import pytest
from scenes import add_volume
from scenes import chest_like

from colipri_core.errors import UnreadableInputError
from colipri_core.io import write_volume
from colipri_core.project import LabelProject
from napari_colipri.panels.project import case_note
from napari_colipri.project import BUSY


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


class TestAScanThatCannotBeRead:
    @pytest.fixture
    def stuck(self, desk, folder: Path, settle, dock):
        """The second of three scans was to be opened and is broken."""
        (folder / "1-two.nii.gz").write_bytes(b"no image")
        dock.project_panel.following.click()
        settle(dock)
        return dock.project_panel

    @pytest.mark.parametrize("button", ["following", "next_open"])
    def test_the_way_on_leads_past_it(self, stuck, desk, dock, settle, button: str) -> None:
        assert desk.current == "0-one.nii.gz"
        getattr(stuck, button).click()
        settle(dock)
        assert desk.current == "2-three.nii.gz"
        assert desk.unread is None
        assert stuck.note.isHidden()

    def test_it_can_be_marked_and_the_panel_says_that_it_is(self, stuck, folder: Path) -> None:
        assert "1-two.nii.gz could not be read" in stuck.note.text()
        stuck.review.click()
        assert [case.mark for case in LabelProject(folder).cases] == ["open", "review", "open"]

    def test_a_project_that_begins_with_one_can_be_worked_on(self, dock, folder: Path, settle) -> None:
        (folder / "0-one.nii.gz").write_bytes(b"no image")
        desk = dock.project_panel.desk
        desk.open(folder)
        settle(dock)
        assert (desk.current, desk.unread) == (None, "0-one.nii.gz")
        dock.project_panel.following.click()
        settle(dock)
        assert desk.current == "1-two.nii.gz"


def test_what_the_reader_has_to_say_is_said(dock, folder: Path, settle) -> None:
    volume = chest_like()
    narrow = ((volume.voxels.astype(float) + 1000) / 7).clip(0, 255).astype(np.uint8)
    write_volume(volume.replace_voxels(narrow), folder / "0-one.nii.gz")
    said = []
    napari.utils.notifications.notification_manager.notification_ready.connect(lambda note: said.append(note.message))
    dock.project_panel.desk.open(folder)
    settle(dock)
    assert any("Hounsfield" in message or "HU" in message for message in said)


def test_nothing_else_is_opened_while_work_is_running(desk, dock, engine, folder, settle, qtbot, tmp_path) -> None:
    engine.gate.clear()
    dock.workflow.analyse()
    qtbot.waitUntil(engine.entered.is_set)
    panel = dock.project_panel
    buttons = (panel.choose, panel.following, panel.next_open, panel.rank, panel.list)
    assert not any(widget.isEnabled() for widget in buttons)
    other = tmp_path / "other"
    other.mkdir()
    write_volume(chest_like(), other / "scan.nii.gz")
    assert not desk.open(other)
    assert dock.error_bar.label.text() == BUSY
    assert desk.project.folder == folder
    engine.gate.set()
    settle(dock)
    assert panel.following.isEnabled()


def test_the_scan_that_is_opened_is_the_chosen_ct(dock, viewer, folder: Path, settle) -> None:
    foreign = viewer.add_image(np.random.default_rng(0).normal(size=(8, 20, 20)), name="someone else's")
    desk = dock.project_panel.desk
    desk.open(folder)
    settle(dock)
    assert dock.workflow.layer.name == "0-one"
    dock.workflow.choose(foreign)
    desk.step(1)
    settle(dock)
    assert dock.workflow.layer.name == "1-two"
    assert dock.model_panel.layers.currentText() == "1-two"


def test_edits_and_marks_of_another_scan_are_not_the_projects(
    desk, dock, viewer, folder: Path, settle, edits_folder: Path
) -> None:
    dock.workflow.choose(add_volume(viewer, chest_like((30, 30, 20))))
    dock.labelling.begin()
    settle(dock)
    assert len(list(edits_folder.glob("*.colipri-edits"))) == 1
    assert not list(folder.glob("edits/*"))
    assert not dock.project_panel.done.isEnabled()
    desk.mark("done")
    assert LabelProject(folder).progress()["done"] == 0

    dock.workflow.choose(viewer.layers["0-one"])
    assert dock.project_panel.done.isEnabled()
    dock.project_panel.done.click()
    assert LabelProject(folder).progress()["done"] == 1


def test_an_edited_draft_is_there_again_with_its_scan(desk, dock, settle) -> None:
    reporting = dock.report.reporting
    reporting.draft()
    settle(dock)
    reporting.add("My own sentence.")
    desk.step(1)
    settle(dock)
    assert reporting.rows == ()
    desk.step(-1)
    settle(dock)
    assert "My own sentence." in [row.text for row in reporting.rows]
    assert not reporting.draft()
