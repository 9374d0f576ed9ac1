"""The report panel: sentences stream in, lead to their place, are edited, copied and exported with the edits."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from drafts import AFFIRMED
from drafts import DENIED
from drafts import small_report
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from qtpy.QtWidgets import QFileDialog
from qtpy.QtWidgets import QPlainTextEdit
from scenes import add_volume
from scenes import chest_like
from scenes import dock_on
from scripted_engine import ScriptedEngine
from scripted_engine import expected_peak

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.listing import report_rows
from colipri_core.volume import Volume
from napari_colipri.dock import ColipriDock
from napari_colipri.reporting import AGAIN

FIRST = 1
"""Row of the first sentence, below its heading."""


@pytest.fixture
def drafted(dock: ColipriDock, settle) -> ColipriDock:
    dock.report.panel.draft.click()
    settle(dock)
    return dock


def texts(dock: ColipriDock) -> list[str]:
    return [row.text for row in dock.report.panel.model.rows]


def edit(dock: ColipriDock, row: int, words: str) -> None:
    """Edit a row as a reader does: open the editor, type, press Enter."""
    panel = dock.report.panel
    index = panel.model.index(row)
    panel.list.setCurrentIndex(index)
    panel.list.edit(index)
    editor = panel.list.findChild(QPlainTextEdit)
    assert editor.toPlainText() == index.data()
    editor.setPlainText(words)
    QTest.keyClick(editor, Qt.Key.Key_Return)


class TestDrafting:
    def test_rows_are_sections_sentences_and_what_is_not_mentioned(self, drafted: ColipriDock) -> None:
        assert texts(drafted) == [row.text for row in report_rows(small_report())]
        assert "Emphysema, probability 0.77, uncalibrated" in texts(drafted)
        assert "DRAFT, not verified. scripted" in drafted.report.panel.note.text()
        assert "scripted" in drafted.footer.model.text()
        assert drafted.report.section.summary.text() == "4 sentences"

    def test_flags_are_in_words_and_the_tooltip_says_what_they_mean(self, drafted: ColipriDock) -> None:
        index = drafted.report.panel.model.index(FIRST)
        assert index.data(Qt.ItemDataRole.AccessibleTextRole).endswith("contradicted, side disputed, place disputed")
        tooltip = index.data(Qt.ItemDataRole.ToolTipRole)
        assert "The model's own second opinion speaks for the opposite." in tooltip
        assert "Second opinion: 0.31" in tooltip

    def test_flags_are_in_colour(self, drafted: ColipriDock) -> None:
        panel = drafted.report.panel
        picture = panel.list.viewport().grab().toImage()
        warning = panel.delegate.colors.warning.rgb()

        def has_warning(row: int) -> bool:
            area = panel.list.visualRect(panel.model.index(row))
            return any(
                picture.pixel(x, y) == warning
                for y in range(max(0, area.top()), min(picture.height(), area.bottom()))
                for x in range(0, picture.width(), 3)
            )

        assert has_warning(FIRST)
        assert not has_warning(FIRST + 1)

    def test_sentences_stream_in_while_the_rest_is_written(
        self, dock: ColipriDock, engine: ScriptedEngine, settle, qtbot
    ) -> None:
        engine.gate.clear()
        dock.report.panel.draft.click()
        qtbot.waitUntil(lambda: texts(dock) == [AFFIRMED.text])
        assert dock.report.panel.draft.text() == "Cancel"
        assert not dock.report.panel.export.isEnabled()
        assert not dock.report.panel.model.flags(dock.report.panel.model.index(0)) & Qt.ItemFlag.ItemIsEditable
        engine.gate.set()
        settle(dock)
        assert len(texts(dock)) > 4
        assert dock.report.panel.draft.text() == "Draft report"

    def test_cancel_in_the_middle_keeps_the_former_draft(
        self, drafted: ColipriDock, engine: ScriptedEngine, settle, qtbot
    ) -> None:
        before = texts(drafted)
        engine.gate.clear()
        drafted.report.panel.draft.click()
        qtbot.waitUntil(lambda: texts(drafted) == [AFFIRMED.text])
        drafted.report.panel.draft.click()
        settle(drafted)
        assert texts(drafted) == before
        assert drafted.report.panel.draft.text() == "Draft report"

    def test_an_error_is_shown_and_nothing_is_left_of_the_draft(
        self, viewer: ViewerModel, volume, qtbot, settle
    ) -> None:
        add_volume(viewer, volume)
        dock = dock_on(viewer, ScriptedEngine(error=UnsupportedVolumeError("The voxels are broken.")))
        qtbot.addWidget(dock)
        dock.report.panel.draft.click()
        settle(dock)
        assert "The voxels are broken." in dock.error_bar.label.text()
        assert texts(dock) == []
        dock.shutdown()

    def test_without_a_ct_there_is_nothing_to_draft(self, viewer: ViewerModel, engine: ScriptedEngine, qtbot) -> None:
        dock = dock_on(viewer, engine)
        qtbot.addWidget(dock)
        assert not dock.report.panel.draft.isEnabled()
        dock.shutdown()


class TestAfterAnalysis:
    def test_an_analysed_ct_gets_its_draft(self, dock: ColipriDock, settle) -> None:
        dock.model_panel.analyse.click()
        settle(dock)
        assert len(dock.findings_panel.model.rows) == 18
        assert dock.structures_panel.model.rows
        assert texts(dock)[FIRST] == AFFIRMED.text

    def test_a_cancelled_analysis_goes_on_with_nothing(
        self, dock: ColipriDock, engine: ScriptedEngine, settle, qtbot
    ) -> None:
        engine.gate.clear()
        dock.model_panel.analyse.click()
        qtbot.waitUntil(engine.entered.is_set)
        dock.jobs.cancel()
        engine.gate.set()
        settle(dock)
        assert texts(dock) == []


class TestPlaces:
    def test_a_click_shows_the_heat_map_and_goes_to_the_place(
        self, drafted: ColipriDock, viewer: ViewerModel, volume: Volume, settle
    ) -> None:
        panel = drafted.report.panel
        QTest.mouseClick(
            panel.list.viewport(),
            Qt.MouseButton.LeftButton,
            pos=panel.list.visualRect(panel.model.index(FIRST + 1)).center(),
        )
        settle(drafted)
        assert viewer.layers["evidence: Lung nodule"].visible
        assert panel.delegate.shown == {"Lung nodule"}
        layer = viewer.layers["chest-like"]
        grid = drafted.workflow.case.source.grid
        place = grid.layer_to_ras(layer.world_to_data(viewer.dims.point))
        peak = volume.geometry.index_to_world(expected_peak(volume, "Lung nodule"))
        assert np.abs(place - peak).max() <= max(volume.spacing) * 0.6

    def test_a_second_click_hides_it(self, drafted: ColipriDock, viewer: ViewerModel, settle) -> None:
        row = drafted.report.panel.model.rows[FIRST]
        drafted.report.panel.chosen.emit(row)
        settle(drafted)
        drafted.report.panel.chosen.emit(row)
        assert not viewer.layers["evidence: Pleural effusion"].visible

    def test_a_finding_that_is_not_mentioned_leads_to_its_heat_map(
        self, drafted: ColipriDock, viewer: ViewerModel, settle
    ) -> None:
        drafted.report.panel.chosen.emit(drafted.report.panel.model.rows[-1])
        settle(drafted)
        assert "evidence: Emphysema" in viewer.layers


class TestEdits:
    def test_words_typed_in_place_are_kept_and_marked(self, drafted: ColipriDock) -> None:
        edit(drafted, FIRST, "Small effusion on the left.")
        assert texts(drafted)[FIRST] == "Small effusion on the left."
        assert drafted.report.panel.model.rows[FIRST].flags == "edited"

    def test_delete_removes_and_a_sentence_can_be_added(self, drafted: ColipriDock) -> None:
        panel = drafted.report.panel
        panel.list.setCurrentIndex(panel.model.index(FIRST + 1))
        QTest.keyClick(panel.list, Qt.Key.Key_Delete)
        assert DENIED.text not in texts(drafted)
        panel.own.setText("Follow-up advised.")
        QTest.keyClick(panel.own, Qt.Key.Key_Return)
        assert texts(drafted)[FIRST + 2] == "Follow-up advised."
        assert panel.own.text() == ""

    def test_headings_and_remarks_cannot_be_edited(self, drafted: ColipriDock) -> None:
        model = drafted.report.panel.model
        for row in (0, len(model.rows) - 1):
            assert not model.flags(model.index(row)) & Qt.ItemFlag.ItemIsEditable
            assert not model.setData(model.index(row), "x")

    def test_a_new_draft_replaces_edits_only_when_asked_twice(self, drafted: ColipriDock, settle) -> None:
        edit(drafted, FIRST, "Mine.")
        drafted.report.panel.draft.click()
        settle(drafted)
        assert AGAIN in drafted.report.panel.note.text()
        assert texts(drafted)[FIRST] == "Mine."
        drafted.report.panel.draft.click()
        settle(drafted)
        assert texts(drafted)[FIRST] == AFFIRMED.text

    def test_each_ct_keeps_its_own_draft_until_it_is_removed(
        self, drafted: ColipriDock, viewer: ViewerModel, settle
    ) -> None:
        edit(drafted, FIRST, "Mine.")
        first = drafted.workflow.layer
        second = add_volume(viewer, chest_like((30, 30, 20)))
        drafted.workflow.choose(second)
        assert texts(drafted) == []
        drafted.report.panel.draft.click()
        settle(drafted)
        drafted.workflow.choose(first)
        assert texts(drafted)[FIRST] == "Mine."
        viewer.layers.remove(first)
        drafted.workflow.choose(second)
        assert texts(drafted)[FIRST] == AFFIRMED.text
        assert len(drafted.report.reporting._reports) == 1

    def test_analysing_again_keeps_the_draft(self, drafted: ColipriDock, settle) -> None:
        edit(drafted, FIRST, "Mine.")
        drafted.model_panel.analyse.click()
        settle(drafted)
        assert texts(drafted)[FIRST] == "Mine."


class TestExport:
    def test_copy_takes_the_edits_and_says_draft(self, drafted: ColipriDock) -> None:
        edit(drafted, FIRST, "\u80f8\u8154\u79ef\u6db2.")
        drafted.report.panel.copy.click()
        copied = QApplication.clipboard().text()
        assert copied.startswith("DRAFT report: chest-like")
        assert "\u80f8\u8154\u79ef\u6db2. [edited]" in copied
        assert "scripted" in copied
        assert "Research use only" in copied

    @pytest.mark.parametrize(
        ("name", "written"), [("d.json", "d.json"), ("d.html", "d.html"), ("d", "d.md"), ("d.dcm", "d.dcm")]
    )
    def test_a_file_is_written_with_the_edits(
        self, drafted: ColipriDock, tmp_path: Path, monkeypatch, settle, name: str, written: str
    ) -> None:
        answer = (str(tmp_path / name), "Markdown (*.md)")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args: answer)
        edit(drafted, FIRST, "Mine.")
        drafted.report.panel.export.click()
        settle(drafted)
        assert drafted.error_bar.label.text() == ""
        content = (tmp_path / written).read_bytes()
        assert b"Mine." in content
        assert f"Exported to {written}." in drafted.report.panel.note.text()
        if name == "d.html":
            assert content.count(b"data:image/png;base64,") == 2  # the edited sentence, and that of the impression
        if name == "d.json":
            assert json.loads(content)["status"] == "DRAFT"

    def test_a_path_that_cannot_be_written_is_said(
        self, drafted: ColipriDock, tmp_path: Path, monkeypatch, settle
    ) -> None:
        for name, said in (("d.pdf", ".html"), ("nowhere/d.html", "does not exist")):
            answer = (str(tmp_path / name), "")
            monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args, answer=answer: answer)
            drafted.report.panel.export.click()
            settle(drafted)
            assert said in drafted.error_bar.label.text()
        assert list(tmp_path.iterdir()) == []

    def test_an_edit_while_work_is_running_does_not_offer_it(
        self, drafted: ColipriDock, engine: ScriptedEngine, settle, qtbot
    ) -> None:
        engine.gate.clear()
        engine.entered.clear()
        drafted.workflow.analyse()
        qtbot.waitUntil(engine.entered.is_set)
        drafted.report.reporting.add("Mine.")
        assert not drafted.report.panel.export.isEnabled()
        engine.gate.set()
        settle(drafted)
        assert drafted.report.panel.export.isEnabled()

    def test_a_dismissed_dialog_writes_nothing(self, drafted: ColipriDock, monkeypatch) -> None:
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args: ("", ""))
        drafted.report.panel.export.click()
        assert not drafted.jobs.busy


def test_closing_the_dock_while_a_draft_streams_waits_for_nothing(
    dock: ColipriDock, engine: ScriptedEngine, qtbot
) -> None:
    engine.gate.clear()
    dock.report.panel.draft.click()
    qtbot.waitUntil(lambda: len(texts(dock)) == 1)
    dock.shutdown()
    engine.gate.set()
    qtbot.waitUntil(lambda: engine.closed)
    assert threading.current_thread() is threading.main_thread()
