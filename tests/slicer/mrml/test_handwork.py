"""What is painted in the Segment Editor: it is saved and looked for, and neither it nor an answer gets lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scripted import Bench

from colipri_core.io import read_labelmap
from colipri_core.segmentation import Segment
from ColipriLib.handwork import merged
from ColipriLib.reconcile import Shown
from ColipriLib.scene import segments

CORNER = np.s_[0:3, 0:3, 0:3]
EDGE = np.s_[0:3, 10:13, 0:3]
ANSWER = 5**3
OBJECTS = (Segment(label=1, name="Lungs"), Segment(label=2, name="Heart"))


@pytest.fixture
def painted(bench: Bench) -> Bench:
    """Object 1 was answered, object 2 is empty; 1 is edited."""
    bench.click(6, 10, 8)
    bench.finish()
    bench.labelling.add_object()
    bench.finish()
    bench.labelling.choose_object(1)
    return bench


def test_what_was_painted_is_saved(painted: Bench, tmp_path: Path) -> None:
    painted.paint(CORNER, 1)
    painted.labelling.export(tmp_path / "labels.nii.gz")
    painted.finish()

    assert painted.logic.desk.problem == ""
    np.testing.assert_array_equal(read_labelmap(tmp_path / "labels.nii.gz").labelmap, painted.labels)
    assert painted.count(1) == ANSWER + 27
    assert painted.labelling.state.undo[0] == "paint"


def test_what_was_painted_is_looked_for(painted: Bench) -> None:
    painted.labelling.choose_object(2)
    painted.paint(CORNER, 2)
    painted.logic.desk.params.set_text("store", "lab")
    painted.logic.similar.find(by_object=True)
    painted.finish()

    assert painted.logic.desk.problem == ""
    (region,) = painted.engine.regions
    assert np.count_nonzero(region.mask) == 27
    assert painted.logic.similar.note == "The store has no other case."


def test_an_answer_and_what_was_painted_meanwhile_both_stay(painted: Bench) -> None:
    with painted.running(lambda: painted.click(16, 10, 8)):
        painted.paint(CORNER, 2)
        painted.labelling.rename_object("Lungs")

    assert (painted.count(1), painted.count(2)) == (2 * ANSWER, 27)
    state = painted.labelling.state
    assert list(state.undo[:3]) == ["rename", "paint", "point"]
    assert len(state.prompts[1]) == 2
    assert state.voxels == {1: 2 * ANSWER, 2: 27}


def test_painting_goes_on_over_the_answer(painted: Bench) -> None:
    painted.paint(CORNER, 2)
    with painted.running(lambda: painted.click(16, 10, 8)):
        painted.paint(EDGE, 2)
    assert (painted.count(1), painted.count(2)) == (2 * ANSWER, 54)

    painted.labelling.begin()
    painted.finish()
    assert painted.labelling.state.voxels == {1: 2 * ANSWER, 2: 54}
    for _ in range(2):
        painted.labelling.undo()
        painted.finish()
    assert (painted.count(1), painted.count(2)) == (ANSWER, 27)


def test_where_both_changed_the_same_the_brush_counts(painted: Bench) -> None:
    with painted.running(lambda: painted.click(16, 10, 8)):
        painted.paint(np.s_[14:16, 8:13, 6:11], 2)
    assert (painted.count(1), painted.count(2)) == (2 * ANSWER - 50, 50)

    painted.labelling.begin()
    painted.finish()
    assert painted.labelling.state.voxels == {1: 2 * ANSWER - 50, 2: 50}


def test_segments_added_renamed_and_removed_meanwhile_stay_so(painted: Bench) -> None:
    with painted.running(lambda: painted.click(16, 10, 8)):
        segmentation, ids = painted.labelling.node.GetSegmentation(), segments.segment_ids(painted.labelling.node)
        segmentation.GetSegment(ids[1]).SetName("Lungs")
        segmentation.RemoveSegment(ids[2])
        segmentation.AddEmptySegment("mine", "Mine")
    assert painted.count(1) == 2 * ANSWER

    painted.labelling.begin()
    painted.finish()
    assert {item.name for item in painted.labelling.state.objects} == {"Lungs", "Mine"}


def test_an_object_that_is_painted_while_it_is_removed_stays() -> None:
    empty, full = np.zeros((2, 2, 2), np.uint16), np.full((2, 2, 2), 2, np.uint16)
    removed = Shown(labelmap=empty, segments=OBJECTS[:1])
    both = merged(Shown(labelmap=full, segments=OBJECTS), Shown(labelmap=empty, segments=OBJECTS), removed)

    assert both.segments == OBJECTS
    assert (both.labelmap == 2).all()


def test_a_failing_step_does_not_hide_what_was_painted(painted: Bench) -> None:
    painted.paint(CORNER, 2)
    painted.click(100, 100, 100)
    painted.finish()

    assert "outside" in painted.logic.desk.problem
    assert painted.labelling.state.undo[0] == "paint"


def test_another_segmentation_chosen_meanwhile_is_not_written_over(painted: Bench) -> None:
    former, scene = painted.labelling.node, painted.logic.desk.scene
    mine = segments.add_segmentation(scene, painted.first, "mine")
    segment = mine.GetSegmentation().AddEmptySegment("mine", "Mine")
    with painted.running(lambda: painted.click(16, 10, 8)):
        center = tuple(painted.logic.desk.take().volume.geometry.center)
        painted.labelling.prompt_at(center, volume=painted.first, segmentation=mine, segment=segment, positive=True)

    assert painted.labelling.node is mine is not former
    assert [item.name for item in segments.read(mine, painted.first)[1]] == ["Mine"]


@pytest.fixture
def locked(painted: Bench) -> Bench:
    """Object 1 is locked, 2 is not; both have voxels."""
    painted.paint(CORNER, 2)
    painted.labelling.change_object(locked=True)
    painted.finish()
    return painted


@pytest.mark.parametrize("step", ["undo", "unlock", "add", "save", "click"])
def test_what_was_painted_on_a_locked_object_is_taken_back_and_said(locked: Bench, step: str, tmp_path: Path) -> None:
    before = locked.labels.copy()
    locked.paint(EDGE, 1)
    locked.paint(np.s_[6, 10, 8], 2)
    locked.paint(np.s_[5, 10, 8], 0)
    locked.paint(np.s_[0:2, 0:2, 6:8], 2)
    before[0:2, 0:2, 6:8] = 2
    {
        "undo": locked.labelling.undo,
        "unlock": lambda: locked.labelling.change_object(locked=False),
        "add": locked.labelling.add_object,
        "save": lambda: locked.labelling.export(tmp_path / "labels.nii.gz"),
        "click": lambda: locked.click(6, 10, 8),
    }[step]()
    locked.finish()

    problem = locked.logic.desk.problem
    assert 'what was changed by hand in "Object 1" was taken back' in problem
    assert ("can be edited" in problem) == (step == "click")
    if step == "undo":
        before[0:2, 0:2, 6:8] = 0
    np.testing.assert_array_equal(locked.labels, before)
    assert locked.labelling.state.objects[0].locked == (step != "unlock")
    locked.labelling.begin()
    locked.finish()
    assert locked.logic.desk.problem == ""


def test_a_locked_object_that_was_removed_by_hand_comes_back(locked: Bench) -> None:
    before, node = locked.labels.copy(), locked.labelling.node
    node.GetSegmentation().RemoveSegment(segments.segment_ids(node)[1])
    locked.labelling.begin()
    locked.finish()

    assert '"Object 1" was taken back' in locked.logic.desk.problem
    np.testing.assert_array_equal(locked.labels, before)
    assert [item.name for item in locked.labelling.state.objects] == ["Object 1", "Object 2"]
