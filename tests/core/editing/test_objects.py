"""Objects of the label editor: whose voxels and prompts they are, who drew them, what names and labels they take."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from edit_scripts import MODEL
from edit_scripts import blank_volume
from edit_scripts import cube
from edit_scripts import paint
from edit_scripts import voxels

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.prompts import Point
from colipri_core.segmentation import Origin
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation

SHAPE = (20, 18, 16)


@pytest.fixture
def editor() -> LabelEditor:
    return LabelEditor(blank_volume(SHAPE))


@pytest.mark.parametrize("how", ["prompt", "adopt"])
def test_prompts_of_an_object_end_when_another_takes_its_last_voxel(editor: LabelEditor, how: str) -> None:
    point = Point(ras=(5, 5, 5))
    editor.answer(editor.ask(point, label=1), cube((2, 2, 2)), model=MODEL)
    if how == "prompt":
        asked = editor.ask(point, label=2, policy="replace")
        editor.answer(asked, cube((0, 0, 0), 8), model=MODEL)
    else:
        labelmap = np.zeros(SHAPE, dtype=np.uint8)
        labelmap[:8, :8, :8] = 2
        given = Segmentation(
            labelmap=labelmap, geometry=editor.volume.geometry, segments=(Segment(label=2, name="all of it"),)
        )
        editor.apply(Adopt(segmentation=given, policy="replace"))
    assert voxels(editor, 1) == 0
    assert 1 not in editor.state.prompts
    assert editor.ask(point, label=1).prompts == (point,)
    editor.undo()
    assert editor.state.prompts[1] == (point,)
    editor.redo()
    assert 1 not in editor.state.prompts


def test_segments_of_one_name_stay_apart(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 1)
    paint(editor, (6, 0, 0), 2)
    for label in (1, 2):
        editor.apply(ChangeObject(label=label, name="Nodule"))
    shown = Segmentation(labelmap=editor.labelmap, geometry=editor.volume.geometry, segments=editor.segments)
    assert [item["volume_ml"] for item in shown.to_json()["segments"]] == [pytest.approx(0.047, abs=1e-3)] * 2
    assert shown.volumes_ml() == {"Nodule": pytest.approx(2 * 64 * 0.7 * 0.7 * 1.5 / 1000)}
    other = LabelEditor(editor.volume)
    other.apply(Adopt(segmentation=shown))
    assert other.state.voxels == {1: 64, 2: 64}
    other.apply(ResetObject(label=1))
    other.apply(Adopt(segmentation=shown))
    assert other.state.voxels == {1: 64, 2: 64}


def test_who_drew_an_object_is_known_object_by_object(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 1)
    editor.answer(editor.ask(Point(ras=(5, 5, 5)), label=2), cube((8, 8, 8)), model=MODEL)
    assert editor.origins == {1: Origin(by_hand=True), 2: Origin(model=MODEL)}
    editor.apply(Paint(voxels=cube((8, 8, 8), 2), label=0))
    assert editor.origins[2] == Origin(model=MODEL, by_hand=True)
    editor.undo()
    assert editor.origins[2] == Origin(model=MODEL)
    editor.apply(RemoveObject(label=2))
    assert (editor.origins, editor.model) == ({1: Origin(by_hand=True)}, None)
    editor.undo()
    assert (editor.origins[2], editor.model) == (Origin(model=MODEL), MODEL)


def test_labels_may_be_any_integers_and_are_kept_as_plain_ones(editor: LabelEditor) -> None:
    label = np.uint8(4)
    editor.apply(AddObject(label=label, name="of numpy"))
    paint(editor, (2, 2, 2), label)
    editor.answer(editor.ask(Point(ras=(5, 5, 5)), label=label), cube((2, 2, 2), 5), model=MODEL)
    json.dumps([step.to_json() for step in editor.steps])
    assert editor.state.voxels == {4: 125}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Paint(voxels=cube((0, 0, 0)), label=1.5), "whole number"),
        (lambda: Paint(voxels=np.ones((2, 2, 2), dtype=bool), label=1), "Crop.around"),
        (lambda: AddObject(name=5), "text as name"),
        (lambda: AddObject(code=None), "text as code"),
        (lambda: ResetObject(label="1"), "whole number"),
        (lambda: Adopt(segmentation=np.zeros(SHAPE)), "Segmentation"),
        (lambda: LabelEditor(blank_volume(SHAPE)).apply("paint"), "edits Paint"),
    ],
)
def test_what_is_no_edit_is_refused_in_words(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()
