"""The real .ui, filled and wired by the module's own code, on a real scene and a real server; Qt is PySide6 here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

widgets = pytest.importorskip("widgets", reason="PySide6 is not installed")

import nodes  # noqa: E402 - after the widgets, which may be missing
import slicer  # noqa: E402
from servers import RealServer  # noqa: E402

from ColipriLib.module_logic import ModuleLogic  # noqa: E402
from ColipriLib.panels import Panels  # noqa: E402
from ColipriLib.scene import markups  # noqa: E402
from ColipriLib.scene import segments  # noqa: E402
from ColipriLib.wiring import Wiring  # noqa: E402

SAMPLE = Path(__file__).resolve().parents[3] / "napari_colipri" / "samples" / "phantom_chest.nii.gz"
WAIT_S = 280.0


class Window:
    """The panels on a scene, as `Colipri.py` puts them together."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.widget, self.ui = widgets.load()
        self.host = widgets.Host()
        self.logic = ModuleLogic(scene, scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Colipri"))
        self.panels = Panels(self.ui, widgets.QT)
        self.wiring = Wiring(self.ui, self.logic, self.host)
        self.logic.on_change = self.refresh
        self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        self.wiring.update(self.panels.show)

    def finish(self) -> None:
        """Wait for what runs; nothing must have gone wrong."""
        self.logic.wait(WAIT_S)
        assert self.ui.problemLabel.text() == ""

    def column(self, table: str, column: int) -> list[str]:
        """The texts of a table's column."""
        shown = getattr(self.ui, table)
        return [shown.item(row, column).text() for row in range(shown.rowCount())]


@pytest.fixture
def window(scene: slicer.vtkMRMLScene) -> Iterator[Window]:
    made = Window(scene)
    yield made
    made.logic.close()
    assert made.logic.desk.runner.join(60)
    made.widget.deleteLater()


def test_an_empty_scene_says_what_to_do(window: Window) -> None:
    ui = window.ui

    assert "Not connected" in ui.statusLabel.text()
    assert "Analyse lists" in ui.findingsNote.text()
    assert not ui.analyseButton.isEnabled()
    assert not ui.undoButton.isEnabled()
    assert not ui.exportReportButton.isEnabled()


def test_no_volume_is_said(window: Window) -> None:
    window.logic.analysis.analyse()

    assert "Choose a CT volume" in window.ui.problemLabel.text()


def test_without_a_volume_no_tool_is_taken(window: Window) -> None:
    window.ui.pointButton.click()

    assert "Choose a CT volume" in window.ui.problemLabel.text()
    assert not window.ui.pointButton.isChecked()
    assert window.logic.desk.params.text("tool") == ""
    assert window.host.placing == []


def test_an_address_that_is_none_is_said(window: Window) -> None:
    window.ui.serverEdit.setText("ftp://host")
    window.ui.connectButton.click()

    assert "Expected the address of a server" in window.ui.problemLabel.text()


def test_a_server_that_is_not_there_is_said(window: Window) -> None:
    window.ui.serverEdit.setText("http://127.0.0.1:9")
    window.ui.connectButton.click()
    window.logic.wait(WAIT_S)

    assert "127.0.0.1:9" in window.ui.statusLabel.text()
    assert window.ui.problemLabel.text()


def test_searching_needs_a_store(window: Window) -> None:
    window.ui.searchEdit.setText("nodule")
    window.ui.searchButton.click()

    assert "case store" in window.ui.problemLabel.text()


class TestWithServer:
    @pytest.fixture
    def ready(self, window: Window, server: RealServer) -> Window:
        window.logic.desk.choose(nodes.load(SAMPLE))
        window.ui.serverEdit.setText(server.url)
        window.ui.connectButton.click()
        window.finish()
        return window

    def test_the_buttons_lead_to_findings_structures_and_a_draft(self, ready: Window) -> None:
        ui = ready.ui
        assert "tiny" in ui.statusLabel.text()
        ui.analyseButton.click()
        assert ui.cancelButton.isEnabled()
        ready.finish()
        ui.draftButton.click()
        ready.finish()
        assert ui.findingsTable.rowCount() == len(ready.logic.view().findings.rows) > 10
        assert "Heart" in ready.column("structuresTable", 1)
        assert "SYNTHETIC" in ui.noticeLabel.text()
        assert "DRAFT" in ui.reportNote.text()
        self.check_evidence(ready)
        self.check_visibility(ready)
        self.check_report(ready)

    def check_evidence(self, ready: Window) -> None:
        name = ready.ui.findingsTable.item(0, 1).text()
        ready.ui.findingsTable.cellClicked.emit(0, 1)
        ready.finish()
        assert ready.logic.view().findings.shown == {name}
        ready.ui.hideHeatButton.click()
        assert ready.logic.view().findings.shown == frozenset()
        ready.panels.filter_findings("effusion")
        assert all("effusion" in text for text in ready.column("findingsTable", 1))

    def check_visibility(self, ready: Window) -> None:
        row = ready.column("structuresTable", 1).index("Heart")
        label = ready.logic.view().structures.rows[row].label
        assert label in ready.logic.view().structures.shown
        ready.ui.structuresTable.cellClicked.emit(row, 0)
        assert label not in ready.logic.view().structures.shown

    def check_report(self, ready: Window) -> None:
        rows = ready.logic.view().report.rows
        number = next(n for n, row in enumerate(rows) if row.position is not None)
        ready.ui.reportTable.item(number, 0).setText("Changed by the reader.")
        assert ready.logic.view().report.rows[number].text == "Changed by the reader."
        ready.ui.copyButton.click()
        assert "Changed by the reader." in ready.host.copied
        assert "DRAFT" in ready.host.copied

    def test_tools_place_markups_and_apply_asks(self, ready: Window, tmp_path: Path) -> None:
        ui, logic = ready.ui, ready.logic
        ui.boxButton.click()
        node, persistent = ready.host.placing[-1]
        assert node.IsA("vtkMRMLMarkupsROINode")
        assert not persistent
        geometry = logic.desk.take().volume.geometry
        node.SetCenterWorld(tuple(geometry.center))
        node.SetSize(40.0, 40.0, 40.0)
        ui.applyButton.click()
        ready.finish()
        assert ready.host.placing[-1] == (None, False)
        assert ready.column("objectsTable", 1) == ["Object 1"]
        assert ui.undoButton.toolTip() == "Undo: box"
        ui.objectName.setText("aorta")
        ui.objectName.editingFinished.emit()
        ready.finish()
        (segment,) = segments.read(logic.labelling.node, logic.desk.volume_node)[1]
        assert (segment.name, segment.code) == ("Aorta", "SCT:15825003")
        ready.host.path = tmp_path / "labels.nii.gz"
        ui.saveLabelsButton.click()
        ready.finish()
        assert (tmp_path / "labels.nii.gz").is_file()
        assert (tmp_path / "labels_edits.json").is_file()

    def test_the_sign_changes_what_points_mean(self, ready: Window) -> None:
        ready.ui.pointButton.click()
        first = ready.host.placing[-1][0]
        ready.ui.positiveButton.click()
        second, persistent = ready.host.placing[-1]

        assert persistent
        assert first is not second
        assert ready.logic.desk.params.node_of("antipoints") is second
        assert "not object" in ready.ui.positiveButton.text()

    def test_locked_objects_say_so(self, ready: Window) -> None:
        ui, logic = ready.ui, ready.logic
        place = tuple(logic.desk.take().volume.geometry.center)
        points = markups.add_markup(logic.desk.scene, "point", positive=True)
        points.AddControlPointWorld(place)
        logic.labelling.prompt_from(points, positive=True)
        ready.finish()
        ui.lockCheck.setChecked(True)
        ready.finish()
        before = segments.read(logic.labelling.node, logic.desk.volume_node)[0]
        logic.labelling.prompt_from(points, positive=True)
        logic.wait(WAIT_S)

        assert "locked" in ui.problemLabel.text()
        np.testing.assert_array_equal(segments.read(logic.labelling.node, logic.desk.volume_node)[0], before)

    def test_a_click_within_another_object_says_what_to_do(self, ready: Window) -> None:
        ui, logic = ready.ui, ready.logic
        points = markups.add_markup(logic.desk.scene, "point", positive=True)
        points.AddControlPointWorld(tuple(logic.desk.take().volume.geometry.center))
        logic.labelling.prompt_from(points, positive=True)
        ready.finish()
        ui.newObjectButton.click()
        ready.finish()
        logic.labelling.prompt_from(points, positive=True)
        logic.wait(WAIT_S)

        assert f"{logic.labelling.state.voxels[1]:,} voxels belong to other objects" in ui.problemLabel.text()
        assert "untick Keep other objects" in ui.problemLabel.text()
        logic.labelling.undo()
        ready.finish()


def test_the_panel_has_the_widgets(window: Window) -> None:
    assert isinstance(window.ui, SimpleNamespace)
    assert window.ui.findingsTable.columnCount() == 3
