"""`Colipri.py` and the Segment Editor effect themselves, on real MRML and a real server; see `application`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("widgets", reason="PySide6 is not installed")

import nodes
import slicer
from application import Application
from application import running
from servers import RealServer

from ColipriLib.scene import segments

SAMPLE = Path(__file__).resolve().parents[3] / "napari_colipri" / "samples" / "phantom_chest.nii.gz"


@pytest.fixture
def application(scene: slicer.vtkMRMLScene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Application]:
    with running(monkeypatch, tmp_path) as made:
        made.widget.enter()
        yield made


@pytest.fixture
def ready(application: Application, server: RealServer) -> Application:
    application.core.desk.params.set_text("server", server.url)
    application.core.desk.choose(nodes.load(SAMPLE))
    return application


def place_points(ready: Application, number: int) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Take the tool *Point* and click, once each answer is there."""
    ready.ui.pointButton.click()
    points = ready.core.desk.params.node_of("points")
    center = np.array(ready.core.desk.take().volume.geometry.center)
    for step in range(number):
        points.AddControlPointWorld(tuple(center + np.array([15.0 * step, 0.0, 0.0])))
        ready.settle(0.2)
    return points


def test_undo_with_the_point_tool_in_hand_asks_nothing(ready: Application) -> None:
    points = place_points(ready, 3)
    assert list(ready.core.labelling.state.undo) == ["point"] * 3

    ready.ui.undoButton.click()
    ready.settle()

    state = ready.core.labelling.state
    assert (list(state.undo), list(state.redo)) == (["point"] * 2, ["point"])
    assert points.GetNumberOfControlPoints() == 2
    ready.ui.redoButton.click()
    ready.settle()
    assert list(ready.core.labelling.state.undo) == ["point"] * 3


def test_points_of_another_object_are_shown_and_not_asked_about(ready: Application) -> None:
    points = place_points(ready, 2)
    ready.ui.newObjectButton.click()
    ready.settle()
    assert points.GetNumberOfControlPoints() == 0

    ready.core.labelling.choose_object(1)
    ready.settle()

    assert points.GetNumberOfControlPoints() == 2
    assert list(ready.core.labelling.state.undo).count("point") == 2


def test_a_point_that_cannot_be_asked_about_is_said(ready: Application) -> None:
    points = place_points(ready, 1)
    ready.core.desk.volume_node.SetAndObserveImageData(None)
    points.AddControlPointWorld((0.0, 0.0, 0.0))

    assert "no voxels" in ready.ui.problemLabel.text()


def test_another_volume_puts_the_tool_down(ready: Application) -> None:
    first = ready.core.desk.volume_node
    points = place_points(ready, 1)
    ready.core.desk.choose(nodes.load(SAMPLE))
    points.AddControlPointWorld((0.0, 0.0, 0.0))
    ready.settle(0.2)

    assert ready.core.desk.params.text("tool") == ""
    assert ready.core.labelling.state is None
    ready.core.desk.choose(first)
    assert list(ready.core.labelling.state.undo) == ["point"]


def test_a_closed_and_loaded_scene_goes_on(ready: Application, tmp_path: Path) -> None:
    scene, core = slicer.mrmlScene, ready.core
    ready.ui.analyseButton.click()
    ready.settle()
    rows = ready.ui.findingsTable.rowCount()
    assert rows > 10
    assert scene.WriteToMRB(str(tmp_path / "case.mrb"))

    scene.Clear(0)
    ready.settle(0.2)
    assert ready.ui.findingsTable.rowCount() == 0
    assert core.desk.client._session is None
    assert core.desk.client.info is not None, "the connection stays"
    assert scene.ReadFromMRB(str(tmp_path / "case.mrb"))
    ready.settle(0.2)

    assert ready.core is core
    assert ready.ui.findingsTable.rowCount() == rows
    ready.ui.windowCombo.setCurrentText("Lung")
    assert core.desk.volume_node.GetDisplayNode().GetWindow() == 1500.0
    ready.ui.draftButton.click()
    ready.settle()
    assert ready.ui.problemLabel.text() == ""
    assert core.view().report.rows


def click_in_the_editor(ready: Application) -> slicer.vtkMRMLSegmentationNode:
    volume = ready.core.desk.volume_node
    drawn = segments.add_segmentation(slicer.mrmlScene, volume, "mine")
    segment = drawn.GetSegmentation().AddEmptySegment("mine", "Mine")
    effect, _ = ready.effect()
    parameters = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    parameters.SetAndObserveSegmentationNode(drawn)
    parameters.SetAndObserveSourceVolumeNode(volume)
    parameters.SetSelectedSegmentID(segment)
    effect.scriptedEffect.parameterSetNode = lambda: parameters
    place = tuple(ready.core.desk.take().volume.geometry.center)
    effect._act(lambda core: effect._prompt(core, place, positive=True))
    return drawn


def test_the_effect_answers_after_the_module_was_left(ready: Application) -> None:
    ready.widget.exit()
    assert not ready.widget._timer.isActive()
    drawn = click_in_the_editor(ready)
    ready.settle(0.2)

    assert segments.read(drawn, ready.core.desk.volume_node)[0].any()


def test_undo_and_redo_of_the_effect(ready: Application) -> None:
    drawn = click_in_the_editor(ready)
    ready.settle(0.2)
    _, buttons = ready.effect()
    for name, there in (("Undo click", False), ("Redo click", True)):
        buttons[name].click()
        ready.settle(0.2)
        assert segments.read(drawn, ready.core.desk.volume_node)[0].any() == there
