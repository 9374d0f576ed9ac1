"""`Colipri.py` and the Segment Editor effect themselves, on real MRML and a real server; see `application`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("widgets", reason="PySide6 is not installed")

import nodes
import slicer
from application import Application
from application import running
from servers import RealServer
from servers import server_python
from servers import serving

from colipri_core.cases import Match
from ColipriLib import server_process
from ColipriLib.rows import MatchRow
from ColipriLib.scene import heat
from ColipriLib.scene import segments
from ColipriLib.scene import volumes

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


def test_a_managed_server_goes_on_to_be_used_in_another_scene(application: Application) -> None:
    managed, core = application.logic.server, application.core
    managed._become("running")
    managed.token, managed.url = "secret", "http://127.0.0.1:34567"
    core.desk.client.token = "secret"
    core.desk.params.set_text("server", managed.url)
    slicer.mrmlScene.Clear(0)
    assert core.desk.params.server == managed.url

    core.desk.client.token = "of another server"
    slicer.mrmlScene.Clear(0)
    assert core.desk.params.server != managed.url


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


def test_a_typed_address_needs_no_scheme_and_no_test(ready: Application, server: RealServer) -> None:
    ready.ui.serverEdit.setText(server.url.removeprefix("http://"))
    ready.ui.analyseButton.click()
    ready.settle(0.2)

    assert ready.ui.problemLabel.text() == ""
    assert ready.core.desk.client.address == server.url
    assert ready.ui.findingsTable.rowCount() > 10


def test_an_address_that_is_none_is_said_by_whatever_needs_it(ready: Application) -> None:
    ready.core.desk.params.set_text("store", "lab")
    ready.ui.serverEdit.setText("ftp://host")
    ready.ui.analyseButton.click()
    assert "Expected the address of a server" in ready.ui.problemLabel.text()
    ready.core.desk.problem = ""
    assert not ready.core.similar.search("nodule")

    assert "Expected the address of a server" in ready.ui.problemLabel.text()


@pytest.mark.parametrize("state", server_process.STATES)
def test_the_managed_server_is_watched_while_it_is_at_work(application: Application, state: str) -> None:
    application.logic.server._become(state)
    application.widget.exit()

    assert application.widget._timer.isActive() == (state in {"installing", "starting"})


def test_the_managed_server_is_started_as_the_fields_say(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(application.logic.server, "start", lambda model, **options: started.append((model, options)))
    application.ui.localStoreEdit.setText(" /cases/lab.store ")
    application.ui.localScansEdit.setText("/scans")
    application.ui.startServerButton.click()

    options = ("--store", "lab=/cases/lab.store", "--root", "/scans")
    assert started == [("tiny", {"device": "auto", "options": options})]
    assert application.settings["Colipri/LocalStore"] == "/cases/lab.store"


def test_the_managed_server_is_installed_from_the_checkout(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[Any] = []
    monkeypatch.setattr(server_process, "find_python", lambda: "python3")
    monkeypatch.setattr(application.logic.server, "install", lambda python, **options: installed.append(options))
    application.ui.installServerButton.click()

    assert installed == [{"package": f"{SAMPLE.parents[2]}[local,server,index]"}]


def test_a_store_given_to_the_managed_server_is_searched(application: Application, tmp_path: Path) -> None:
    python = server_python()
    if python is None:
        pytest.skip("no Python to serve with")
    store = tmp_path / "lab.store"
    index = "from colipri_core.cli.main import run; raise SystemExit(run())"
    arguments = ["index", "add", str(store), str(SAMPLE), "--model", "tiny", "--device", "cpu"]
    subprocess.run([python, "-c", index, *arguments], check=True, cwd=SAMPLE.parents[2])
    options = server_process.store_options(str(store), str(SAMPLE.parent))
    with serving(tmp_path / "state", options=options) as running_server:
        application.ui.serverEdit.setText(running_server.url)
        application.ui.connectButton.click()
        application.settle(0.2)
        assert application.ui.storeCombo.currentText() == "lab"
        application.ui.searchEdit.setText("pleural effusion")
        application.ui.searchButton.click()
        application.settle(0.2)

        assert application.ui.problemLabel.text() == ""
        (row,) = application.core.similar.rows
        assert row.match.path == SAMPLE.name
        application.ui.matchesTable.setCurrentCell(0, 0)
        application.ui.openMatchButton.click()
        application.settle(0.2)

    assert application.ui.problemLabel.text() == ""
    assert "show the scan" in application.ui.similarNote.text()
    assert row.match.place is not None
    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceNode")
    middle = [view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]
    np.testing.assert_allclose(middle, row.match.place.center_ras, atol=1e-6)
    fetched = slicer.mrmlScene.GetFirstNodeByName(SAMPLE.name.partition(".")[0])
    loaded = nodes.load(SAMPLE)
    assert fetched is not None
    assert fetched.GetID() != loaded.GetID()
    np.testing.assert_array_equal(volumes.volume_of(fetched).voxels, volumes.volume_of(loaded).voxels)
    np.testing.assert_allclose(volumes.volume_of(fetched).affine, volumes.volume_of(loaded).affine, atol=1e-4)
    assert all(view.GetBackgroundVolumeID() == fetched.GetID() for view in heat.slice_composites(slicer.mrmlScene))

    application.ui.openMatchButton.click()
    application.settle(0.2)
    assert running_server.url.partition("//")[2] in application.ui.problemLabel.text(), "the server is gone"


def test_a_match_of_unknown_place_is_not_loaded(application: Application) -> None:
    opened: list[Path] = []
    application.core.similar._load = opened.append
    match = Match(case="c17", path="", report="", volume_sha256="0" * 64, distance=0.1)
    application.core.similar.open(MatchRow(match=match, shared=(), other=()))

    assert opened == []
    assert 'does not say where the scan of "c17" lies' in application.ui.similarNote.text()
