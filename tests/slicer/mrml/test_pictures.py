"""Pictures of the panels with a real result, for the documentation; written where --pictures says, else thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest

widgets = pytest.importorskip("widgets", reason="PySide6 is not installed")

import nodes  # noqa: E402 - after the widgets, which may be missing
import slicer  # noqa: E402
from servers import RealServer  # noqa: E402

from ColipriLib.module_logic import ModuleLogic  # noqa: E402
from ColipriLib.panels import Panels  # noqa: E402
from ColipriLib.scene.places import WINDOWS  # noqa: E402

SAMPLE = Path(__file__).resolve().parents[3] / "napari_colipri" / "samples" / "phantom_chest.nii.gz"
MAX_BYTES = 300_000
ROOM = 60
"""Pixels more than the layout asks for, since labels that wrap ask for too few."""

WAIT_S = 280.0
PICTURES = {
    "slicer_panels": ("modelSection", "findingsSection", "structuresSection"),
    "slicer_label": ("labelSection", "reportSection"),
}
"""Name of the picture -> the sections it shows."""


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    named = request.config.getoption("--pictures")
    return Path(named) if named else tmp_path


def test_pictures_of_the_panels(scene: slicer.vtkMRMLScene, server: RealServer, folder: Path) -> None:
    logic = ModuleLogic(scene, scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Colipri"))
    panel, ui = widgets.load()
    volume = nodes.load(SAMPLE)
    ui.volumeSelector.addItem(volume.GetName())
    ui.windowCombo.addItems(list(WINDOWS))
    ui.serverEdit.setText(server.url)
    logic.desk.choose(volume)
    logic.desk.params.set_text("server", server.url)
    logic.analysis.analyse()
    logic.wait(WAIT_S)
    logic.labelling.adopt_structures()
    logic.wait(WAIT_S)
    logic.reporting.draft()
    logic.wait(WAIT_S)
    Panels(ui, widgets.QT).show(logic.view())
    assert logic.desk.problem == ""
    for name, shown in PICTURES.items():
        for child in panel.findChildren(widgets.QtWidgets.QGroupBox):
            child.setVisible(child.objectName() in shown)
        panel.resize(620, panel.layout().heightForWidth(620) + ROOM)
        panel.layout().activate()
        path = folder / f"{name}.png"
        assert panel.grab().save(str(path))
        assert 10_000 < path.stat().st_size < MAX_BYTES
    logic.close()
