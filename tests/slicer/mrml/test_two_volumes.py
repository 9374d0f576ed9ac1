"""Two CTs in one scene, through a real server: each keeps its own labels, structures, prompts, draft and results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nodes
import numpy as np
import pytest
import slicer
from servers import RealServer

from ColipriLib.client import Client
from ColipriLib.module_logic import ModuleLogic
from ColipriLib.params import VOLUME_ROLES
from ColipriLib.scene import segments
from ColipriLib.scene import volumes

SAMPLE = Path(__file__).resolve().parents[3] / "napari_colipri" / "samples" / "phantom_chest.nii.gz"
WAIT_S = 280.0

Volume = slicer.vtkMRMLScalarVolumeNode


@pytest.fixture
def logic(scene: slicer.vtkMRMLScene, server: RealServer, tmp_path: Path) -> Iterator[ModuleLogic]:
    made = ModuleLogic(
        scene, scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Colipri"), client=Client(edits_folder=tmp_path)
    )
    made.desk.params.set_text("server", server.url)
    yield made
    made.close()
    assert made.desk.runner.join(60)


@pytest.fixture
def pair(scene: slicer.vtkMRMLScene) -> tuple[Volume, Volume]:
    """A CT, and one that is mirrored."""
    first = nodes.load(SAMPLE)
    taken = volumes.volume_of(first)
    return first, nodes.add_volume(scene, np.asarray(taken.voxels)[::-1].copy(), taken.affine)


def finish(logic: ModuleLogic) -> None:
    logic.wait(WAIT_S)
    assert logic.desk.problem == ""


def click(logic: ModuleLogic) -> None:
    points = logic.labelling.markup("point", positive=True)
    points.AddControlPointWorld(tuple(logic.desk.take().volume.geometry.center))
    assert logic.labelling.prompt_from(points, positive=True)


def test_labels_and_results_stay_with_their_volume(logic: ModuleLogic, pair: tuple[Volume, Volume]) -> None:
    first, second = pair
    logic.desk.choose(first)
    logic.analysis.analyse()
    finish(logic)
    click(logic)
    finish(logic)
    kept = [logic.desk.params.node_of(role) for role in VOLUME_ROLES]
    structures, labels = (segments.read(node, first)[0].copy() for node in kept[:2])
    findings = logic.view().findings.rows

    logic.desk.choose(second)
    assert [logic.desk.params.node_of(role) for role in VOLUME_ROLES] == [None] * len(VOLUME_ROLES)
    assert logic.view().structures.shown == frozenset()
    logic.labelling.begin()
    finish(logic)
    assert logic.labelling.state.objects == ()
    assert not logic.labelling.state.undo
    logic.analysis.analyse()
    finish(logic)
    click(logic)
    finish(logic)
    assert logic.view().label.undo == "point"

    np.testing.assert_array_equal(segments.read(kept[0], first)[0], structures)
    np.testing.assert_array_equal(segments.read(kept[1], first)[0], labels)
    logic.desk.choose(first)
    logic.labelling.begin()
    finish(logic)
    assert [logic.desk.params.node_of(role) for role in VOLUME_ROLES] == kept
    assert logic.view().findings.rows == findings
    assert list(logic.labelling.state.undo) == ["point"]
    np.testing.assert_array_equal(segments.read(kept[1], first)[0], labels)


def test_an_answer_goes_to_the_volume_that_was_asked_about(logic: ModuleLogic, pair: tuple[Volume, Volume]) -> None:
    first, second = pair
    logic.desk.choose(first)
    click(logic)
    logic.desk.choose(second)
    finish(logic)

    assert logic.labelling.node is None
    logic.desk.choose(first)
    assert segments.read(logic.labelling.node, first)[0].any()


def test_a_draft_stays_with_its_volume(logic: ModuleLogic, pair: tuple[Volume, Volume]) -> None:
    first, second = pair
    logic.desk.choose(first)
    assert logic.reporting.draft()
    logic.desk.choose(second)
    assert logic.reporting.rows == ()
    finish(logic)
    assert logic.reporting.rows == ()

    logic.desk.choose(first)
    assert logic.reporting.rows
    logic.reporting.add("A sentence of the reader.")
    assert not logic.reporting.draft(), "an edited draft is replaced only when asked twice"
    logic.desk.choose(second)
    assert logic.reporting.draft()
    finish(logic)
    logic.reporting.add("Another one.")
    logic.desk.choose(first)
    logic.desk.choose(second)
    assert not logic.reporting.draft()


def test_both_are_saved_with_the_scene(logic: ModuleLogic, pair: tuple[Volume, Volume], tmp_path: Path) -> None:
    rows = {}
    for volume in pair:
        logic.desk.choose(volume)
        logic.analysis.analyse()
        finish(logic)
        logic.reporting.draft()
        finish(logic)
        rows[volume.GetName()] = logic.view().findings.rows
    scene = logic.desk.scene
    assert scene.WriteToMRB(str(tmp_path / "two.mrb"))
    logic.desk.forget()
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "two.mrb"))
    again = ModuleLogic(scene, scene.GetFirstNodeByName("Colipri"))

    for name, expected in rows.items():
        again.desk.choose(scene.GetFirstNodeByName(name))
        again.restore()
        assert again.view().findings.rows == expected
        assert again.view().report.rows
    again.close()


def test_a_copied_volume_begins_with_nothing(logic: ModuleLogic, pair: tuple[Volume, Volume]) -> None:
    first, _ = pair
    logic.desk.choose(first)
    click(logic)
    finish(logic)

    copied = slicer.vtkSlicerVolumesLogic.CloneVolume(logic.desk.scene, first, "copied")

    assert logic.desk.params.node_of("labels", first) is not None
    assert logic.desk.params.node_of("labels", copied) is None


def test_scenes_of_earlier_versions_are_read(logic: ModuleLogic, pair: tuple[Volume, Volume]) -> None:
    first, second = pair
    scene, params = logic.desk.scene, logic.desk.params
    labels = segments.add_segmentation(scene, second, "labels")
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    params.node.SetNodeReferenceID("labels", labels.GetID())
    params.node.SetNodeReferenceID("points", points.GetID())
    logic.desk.choose(first)
    logic.restore()

    assert params.node_of("labels") is None
    assert params.node_of("labels", second) is labels
    assert params.node_of("points") is points
    assert params.node.GetNodeReference("labels") is None
