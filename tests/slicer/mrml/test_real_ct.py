"""A real CT with an oblique affine, under a parent transform, through a real server: the same as without Slicer."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodes
import numpy as np
import pytest
import slicer
from host import host
from local_results import PHRASE
from servers import RealServer
from servers import local_results
from servers import serving

from colipri_core.remote.client import RemoteEngine
from colipri_core.remote.client import Timeouts
from ColipriLib.client import Client
from ColipriLib.module_logic import ModuleLogic
from ColipriLib.scene import heat
from ColipriLib.scene import segments
from ColipriLib.scene import volumes

MOVED = nodes.rotation(25.0, 0) + np.array([[0, 0, 0, -14.0], [0, 0, 0, 33.0], [0, 0, 0, 5.0], [0, 0, 0, 0]])
WAIT_S = 280.0

Start = Callable[[slicer.vtkMRMLScene, str], ModuleLogic]


@pytest.fixture(scope="module")
def scan(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "oblique.nii.gz"
    nodes.write_oblique(shared_data / "lung_masks" / "imlab_id001_ct.nii.gz", path)
    return path


@pytest.fixture(scope="module")
def expected(server: RealServer, scan: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("expected")
    transform = tmp_path_factory.mktemp("transform") / "moved.json"
    with host() as scene:
        volume = nodes.load(scan)
        nodes.put_under(volume, MOVED)
        affine = volumes.geometry_of(volume).affine
        assert scene.IsNodePresent(volume)
    transform.write_text(json.dumps({"moved": MOVED.tolist(), "affine": affine.tolist()}))
    files = local_results(scan, transform, folder)
    arrays = {name: np.load(path) for name, path in files.items() if path.suffix == ".npy"}
    return arrays | json.loads(files["values"].read_text())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the module on a scene, connected to a server; closes what was started."""
    started = []

    def begin(scene: slicer.vtkMRMLScene, url: str) -> ModuleLogic:
        node = scene.GetFirstNodeByName("Colipri") or scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Colipri")
        logic = ModuleLogic(scene, node, client=Client(edits_folder=tmp_path / "edits", opener=impatient))
        logic.desk.params.set_text("server", url)
        started.append(logic)
        return logic

    yield begin
    for logic in started:
        logic.close()
        assert logic.desk.runner.join(60)


def impatient(address: str, token: str, *_: object) -> RemoteEngine:
    """Like the module's own opener, but does not wait long for a server that is gone."""
    return RemoteEngine(address, token=token or None, timeouts=Timeouts(reconnect=0.5))


def loaded(scan: Path, logic: ModuleLogic) -> slicer.vtkMRMLScalarVolumeNode:
    volume = nodes.load(scan)
    nodes.put_under(volume, MOVED)
    logic.desk.choose(volume)
    return volume


def finish(logic: ModuleLogic) -> None:
    logic.wait(WAIT_S)
    assert logic.desk.problem == ""


def click(logic: ModuleLogic, place: list[float] | None = None) -> None:
    """Place a fiducial, in the middle of the volume if nowhere else, and ask."""
    points = logic.labelling.markup("point", positive=True)
    points.AddControlPointWorld(tuple(logic.desk.take().volume.geometry.center if place is None else place))
    assert logic.labelling.prompt_from(points, positive=True)


def labels_of(logic: ModuleLogic) -> np.ndarray:
    return segments.read(logic.labelling.node, logic.desk.volume_node)[0]


def test_results_are_those_of_the_engine_alone(
    scene: slicer.vtkMRMLScene, start: Start, server: RealServer, scan: Path, expected: dict[str, Any]
) -> None:
    logic = start(scene, server.url)
    volume = loaded(scan, logic)
    np.testing.assert_allclose(volumes.geometry_of(volume).affine, expected["affine"], atol=1e-4)

    assert logic.analysis.analyse()
    finish(logic)
    logic.analysis.show_evidence(PHRASE)
    finish(logic)
    logic.reporting.draft()
    finish(logic)

    found = {row.name: row.probability for row in logic.view().findings.rows}
    assert found == pytest.approx(expected["findings"], abs=1e-4)
    labelmap, shown = segments.read(logic.analysis.structures_node, volume)
    np.testing.assert_array_equal(labelmap, expected["structures"])
    assert {segment.code.split(":")[0] for segment in shown} == {"SCT"}
    assert 1 not in logic.view().structures.shown, "the body would hide everything else"
    node = heat.find_heat(scene, volume, PHRASE)
    known = np.isfinite(expected["evidence"])
    values = volumes.scalars_of(node.GetImageData()).transpose(2, 1, 0)
    np.testing.assert_allclose(values[known], expected["evidence"][known], atol=1e-4)
    assert logic.view().findings.shown == {PHRASE}
    text = logic.desk.params.node_of("report").GetText()
    assert "DRAFT" in text
    assert all(sentence.text in text.replace("\\", "") for sentence in logic.reporting.report)


def test_a_fiducial_is_answered_undone_and_made_again(
    scene: slicer.vtkMRMLScene, start: Start, server: RealServer, scan: Path, expected: dict[str, Any]
) -> None:
    logic = start(scene, server.url)
    loaded(scan, logic)
    click(logic, expected["clicked"])
    finish(logic)
    answered = labels_of(logic)

    np.testing.assert_array_equal(answered, expected["point"])
    assert answered.any()
    logic.labelling.undo()
    finish(logic)
    assert not labels_of(logic).any()
    assert logic.desk.params.node_of("points").GetNumberOfControlPoints() == 0
    logic.labelling.redo()
    finish(logic)
    np.testing.assert_array_equal(labels_of(logic), expected["point"])
    assert logic.desk.params.node_of("points").GetNumberOfControlPoints() == 1


def test_what_the_segment_editor_changed_is_an_edit_like_any_other(
    scene: slicer.vtkMRMLScene, start: Start, server: RealServer, scan: Path
) -> None:
    logic = start(scene, server.url)
    volume = loaded(scan, logic)
    click(logic)
    finish(logic)
    painted = labels_of(logic)
    painted[2:6, 2:6, 2:6] = 1
    by_hand = slicer.vtkOrientedImageData()
    by_hand.DeepCopy(segments._image((painted == 1).astype(np.uint8), volume))
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        by_hand,
        logic.labelling.node,
        segments.segment_ids(logic.labelling.node)[1],
        slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE,
        by_hand.GetExtent(),
    )

    logic.labelling.begin()
    finish(logic)
    np.testing.assert_array_equal(labels_of(logic), painted)
    assert logic.view().label.undo == "paint"
    logic.labelling.undo()
    finish(logic)
    assert not labels_of(logic)[2:6, 2:6, 2:6].any()


def test_a_saved_scene_brings_everything_back(
    scene: slicer.vtkMRMLScene, start: Start, server: RealServer, scan: Path, tmp_path: Path
) -> None:
    logic = start(scene, server.url)
    loaded(scan, logic)
    logic.analysis.analyse()
    finish(logic)
    logic.analysis.show_evidence(PHRASE)
    finish(logic)
    logic.reporting.draft()
    finish(logic)
    logic.reporting.add("A sentence of the reader.")
    click(logic)
    finish(logic)
    before, labels = logic.view(), labels_of(logic)
    logic.close()
    assert logic.desk.runner.join(60)
    bundle = str(tmp_path / "case.mrb")
    assert scene.WriteToMRB(bundle)
    scene.Clear(0)
    assert scene.GetFirstNodeByName("Colipri") is None
    assert scene.ReadFromMRB(bundle)

    again = start(scene, server.url)
    again.restore()
    after = again.view()

    assert (after.findings.rows, after.structures.rows) == (before.findings.rows, before.structures.rows)
    assert after.structures.shown == before.structures.shown
    assert after.report.rows == before.report.rows
    assert after.model.notice == before.model.notice
    assert any(row.text == "A sentence of the reader." for row in after.report.rows)
    np.testing.assert_array_equal(labels_of(again), labels)
    again.labelling.begin()
    finish(again)
    np.testing.assert_array_equal(labels_of(again), labels)
    assert again.view().label.undo == "point", "the history was taken up too"
    again.labelling.undo()
    finish(again)
    assert not labels_of(again).any()


def test_a_server_that_dies_is_said_and_its_successor_goes_on(
    scene: slicer.vtkMRMLScene, start: Start, server: RealServer, scan: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "first") as first:
        logic = start(scene, first.url)
        loaded(scan, logic)
        click(logic)
        finish(logic)
        answered = labels_of(logic)
        first.kill()
        logic.labelling.undo()
        logic.wait(WAIT_S)

        assert logic.view().model.tone == "problem"
        assert first.url in logic.view().model.status
        np.testing.assert_array_equal(labels_of(logic), answered)
        with serving(tmp_path / "second", port=first.port):
            logic.labelling.undo()
            finish(logic)
            assert logic.view().model.tone == "ok"
            assert not labels_of(logic).any()
            logic.labelling.redo()
            finish(logic)
            np.testing.assert_array_equal(labels_of(logic), answered)
