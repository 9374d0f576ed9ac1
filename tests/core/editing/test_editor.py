"""The label editor: what each edit does, overlap and locks, undo and redo without end."""

from __future__ import annotations

import numpy as np
import pytest
from edit_scripts import MODEL
from edit_scripts import RandomEditing
from edit_scripts import blank_volume
from edit_scripts import cube
from edit_scripts import fingerprint
from edit_scripts import paint
from edit_scripts import voxels

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.editing.journal import Event
from colipri_core.editing.notice import NOTHING
from colipri_core.editing.notice import answer_notice
from colipri_core.errors import EmptyHistoryError
from colipri_core.errors import ObjectLockedError
from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts import Crop
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation

SHAPE = (20, 18, 16)


@pytest.fixture
def editor() -> LabelEditor:
    return LabelEditor(blank_volume(SHAPE))


def test_a_brush_makes_an_object_and_its_change_names_the_box(editor: LabelEditor) -> None:
    change = editor.apply(Paint(voxels=cube((2, 3, 4)), label=3))
    assert (change.lower, change.upper, change.voxels_changed) == ((2, 3, 4), (6, 7, 8), 64)
    assert change.bbox == ((2, 3, 4), (6, 7, 8))
    assert (change.label, change.action, change.objects_changed) == (3, "paint", True)
    assert (change.labels == 3).all()
    assert editor.state.voxels == {3: 64}
    assert editor.state.volumes_ml()[3] == pytest.approx(64 * 0.7 * 0.7 * 1.5 / 1000)


def test_keep_leaves_what_is_there_and_replace_takes_it(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 1)
    paint(editor, (2, 0, 0), 2, policy="keep")
    assert (voxels(editor, 1), voxels(editor, 2)) == (64, 32)
    paint(editor, (2, 0, 0), 2, policy="replace")
    assert (voxels(editor, 1), voxels(editor, 2)) == (32, 64)


@pytest.mark.parametrize("policy", ["keep", "replace"])
def test_an_answer_counts_what_other_objects_keep(editor: LabelEditor, policy: str) -> None:
    prompt = Point(ras=(0, 0, 0))
    paint(editor, (0, 0, 0), 1)
    paint(editor, (0, 8, 0), 2)
    editor.apply(ChangeObject(label=2, locked=True))

    def answer(proposal: Crop, label: int) -> tuple[int, int, str]:
        asked = editor.ask(prompt, label=label, policy=policy)
        change = editor.answer(asked, proposal, model=MODEL)
        return change.voxels_changed, change.voxels_kept, answer_notice(prompt, change, editor.state, policy=policy)

    assert answer(cube((0, 8, 0)), 3)[:2] == (0, 64)
    changed, kept, words = answer(cube((1, 0, 0)), 3)
    if policy == "keep":
        assert (changed, kept) == (16, 48)
        assert words.startswith("48 voxels belong to other objects; untick")
    else:
        assert (changed, kept, words) == (64, 0, "")
        assert answer(cube((0, 8, 0)), 4)[2].startswith("64 voxels belong to locked objects")


def test_a_notice_says_that_nothing_was_outlined(editor: LabelEditor) -> None:
    def words(prompt: Point | Phrase, proposal: Crop) -> str:
        change = editor.answer(editor.ask(prompt, label=1), proposal, model=MODEL)
        return answer_notice(prompt, change, editor.state, policy="keep")

    assert words(Point(ras=(0, 0, 0)), Crop.empty()) == NOTHING
    assert words(Phrase(text="nodule"), Crop.empty()) == NOTHING
    assert not words(Point(ras=(0, 0, 0), positive=False), Crop.empty())
    assert not words(Point(ras=(0, 0, 0)), cube((4, 4, 4)))
    assert not words(Point(ras=(0, 0, 0)), cube((4, 4, 4))), "it was right before"


def test_an_object_without_a_name_is_named_after_the_phrase_that_outlines_it(editor: LabelEditor) -> None:
    def names() -> list[str]:
        return [item.name for item in editor.state.objects]

    def ask(text: str, label: int, proposal: Crop) -> None:
        editor.answer(editor.ask(Phrase(text=text), label=label), proposal, model=MODEL)

    ask("pleural effusion", 1, cube((0, 0, 0)))
    assert names() == ["Pleural effusion"]
    editor.undo()
    assert names() == []
    editor.redo()
    ask("nodule", 1, cube((0, 8, 0)))
    assert names() == ["Pleural effusion"]
    editor.apply(AddObject())
    assert names() == ["Pleural effusion", "Object 2"]
    ask("nothing there", 2, Crop.empty())
    assert names() == ["Pleural effusion", "Object 2"]
    ask("w" * 100, 2, cube((8, 8, 0)))
    assert names() == ["Pleural effusion", "W" + "w" * 56 + "..."]
    editor.undo()
    assert names() == ["Pleural effusion", "Object 2"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pleural effusion", "SCT:60046008"),
        ("Pulmonary nodule", "RADLEX:RID50149"),
        ("aorta", "SCT:15825003"),
        ("a shadow", ""),
    ],
)
def test_an_object_named_after_a_phrase_bears_its_code(editor: LabelEditor, text: str, code: str) -> None:
    editor.answer(editor.ask(Phrase(text=text), label=1), cube((0, 0, 0)), model=MODEL)

    assert [item.code for item in editor.state.objects] == [code]


def test_a_code_given_by_hand_stays(editor: LabelEditor) -> None:
    editor.apply(AddObject(label=1, code="SCT:39607008"))

    editor.answer(editor.ask(Phrase(text="pleural effusion"), label=1), cube((0, 0, 0)), model=MODEL)

    assert [(item.name, item.code) for item in editor.state.objects] == [("Pleural effusion", "SCT:39607008")]


def test_an_unknown_policy_is_refused(editor: LabelEditor) -> None:
    given = Segmentation(labelmap=editor.labelmap, geometry=editor.volume.geometry, segments=())
    for act in (
        lambda: editor.ask(Point(ras=(0, 0, 0)), label=1, policy="foo"),
        lambda: Paint(voxels=cube((0, 0, 0)), label=1, policy="foo"),
        lambda: Adopt(segmentation=given, policy="foo"),
        lambda: Adopt.structures(given, policy="foo"),
    ):
        with pytest.raises(ValueError, match='keep, replace, got "foo"'):
            act()


def test_a_locked_object_is_refused_as_target_and_left_alone_as_neighbour(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 1)
    editor.apply(ChangeObject(label=1, locked=True))
    before = fingerprint(editor)
    with pytest.raises(ObjectLockedError, match="Unlock it first"):
        paint(editor, (4, 0, 0), 1)
    with pytest.raises(ObjectLockedError):
        editor.apply(RemoveObject(label=1))
    with pytest.raises(ObjectLockedError):
        editor.ask(Point(ras=(0, 0, 0)), label=1)
    assert fingerprint(editor) == before
    paint(editor, (2, 0, 0), 2)
    editor.apply(Paint(voxels=cube((0, 0, 0)), label=0))
    assert voxels(editor, 1) == 64
    assert voxels(editor, 2) == 32


def test_a_proposal_replaces_the_object_and_its_prompt_goes_with_undo(editor: LabelEditor) -> None:
    first, second = Point(ras=(1, 2, 3)), Point(ras=(4, 5, 6), positive=False)
    editor.answer(editor.ask(first, label=1), cube((2, 2, 2)), model=MODEL)
    asked = editor.ask(second, label=1)
    assert asked.prompts == (first, second)
    assert asked.previous.lower == (2, 2, 2)
    change = editor.answer(asked, cube((4, 2, 2)), model=MODEL)
    assert change.voxels_changed == 64
    assert np.argwhere(editor.labelmap)[:, 0].min() == 4
    assert editor.state.prompts == {1: (first, second)}
    assert editor.model == MODEL
    undone = editor.undo()
    assert (undone.action, undone.voxels_changed) == ("point", 64)
    assert editor.state.prompts == {1: (first,)}
    assert np.argwhere(editor.labelmap)[:, 0].min() == 2


def test_an_edit_made_while_the_model_is_at_work_stays(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 1)
    asked = editor.ask(Point(ras=(0, 0, 0)), label=1)
    paint(editor, (8, 8, 8), 1)
    paint(editor, (4, 0, 0), 2)
    editor.answer(asked, Crop(lower=(0, 0, 0), mask=np.ones((6, 4, 4), dtype=bool)), model=MODEL)
    assert (
        voxels(editor, 1) == 128
    )  # the first cube and the stroke; the proposal's growth meets object 2 and is kept out
    assert voxels(editor, 2) == 64


def test_an_empty_proposal_clears_the_object_but_keeps_the_prompt(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 1)
    prompt = Point(ras=(0, 0, 0), positive=False)
    editor.answer(editor.ask(prompt, label=1), Crop.empty(), model=MODEL)
    assert voxels(editor, 1) == 0
    assert editor.state.prompts == {1: (prompt,)}
    assert editor.ask(prompt, label=1).previous.is_empty


def test_prompts_end_when_their_object_is_reset_removed_or_wiped_out(editor: LabelEditor) -> None:
    for end in (
        ResetObject(label=1),
        RemoveObject(label=1),
        Paint(voxels=Crop(lower=(0, 0, 0), mask=np.ones(SHAPE, dtype=bool)), label=2),
    ):
        editor.answer(editor.ask(Point(ras=(1, 1, 1)), label=1), cube((2, 2, 2)), model=MODEL)
        editor.apply(end)
        assert not editor.state.prompts
        editor.undo()
        assert editor.state.prompts == {1: (Point(ras=(1, 1, 1)),)}
        editor.undo()


def test_objects_are_named_coloured_ticked_off_and_brought_back(editor: LabelEditor) -> None:
    editor.apply(AddObject(name="Nodule", code="SCT:27925004", color=(1, 2, 3)))
    assert editor.apply(ChangeObject(label=1, name="Mass", done=True)).action == "rename, mark done"
    assert editor.state.objects[0].name == "Mass"
    editor.apply(RemoveObject(label=1))
    assert not editor.state.objects
    editor.undo()
    editor.undo()
    (item,) = editor.state.objects
    assert (item.name, item.code, item.color, item.done) == ("Nodule", "SCT:27925004", (1, 2, 3), False)
    depth = len(editor.state.undo)
    editor.apply(ChangeObject(label=1, name="Nodule"))
    assert len(editor.state.undo) == depth, "a change that changes nothing is no step"


@pytest.mark.parametrize(
    "edit",
    [AddObject(name="x", label=1), AddObject(label=70_000), ChangeObject(label=9, name="x"), ResetObject(label=9)],
)
def test_what_names_no_usable_object_is_refused(editor: LabelEditor, edit: object) -> None:
    editor.apply(AddObject())
    before = fingerprint(editor)
    with pytest.raises(ValueError, match="Expected"):
        editor.apply(edit)
    assert fingerprint(editor) == before


def test_voxels_beyond_the_grid_are_refused(editor: LabelEditor) -> None:
    with pytest.raises(ValueError, match="on the grid"):
        paint(editor, (18, 0, 0), 1)
    asked = editor.ask(Point(ras=(0, 0, 0)), label=1)
    with pytest.raises(ValueError, match="on the grid"):
        editor.answer(asked, cube((0, 0, 14)), model=MODEL)
    assert not editor.state.undo


def test_labels_beyond_a_byte_widen_the_labelmap_and_undo_back(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 7)
    paint(editor, (2, 0, 0), 300)
    assert editor.labelmap.dtype == np.uint16
    assert editor.state.voxels == {7: 32, 300: 64}
    editor.undo()
    assert editor.state.voxels == {7: 64}
    assert set(np.unique(editor.labelmap)) == {0, 7}


def test_structures_become_objects_beside_what_was_drawn(editor: LabelEditor) -> None:
    paint(editor, (0, 0, 0), 1)
    labelmap = np.zeros(SHAPE, dtype=np.uint8)
    labelmap[2:8], labelmap[8:12] = 1, 4
    given = Segmentation(
        labelmap=labelmap,
        geometry=editor.volume.geometry,
        segments=(Segment(label=1, name="lung", code="SCT:39607008"), Segment(label=4, name="heart")),
    )
    editor.apply(Adopt(segmentation=given))
    assert {item.name: item.label for item in editor.state.objects} == {"Object 1": 1, "lung": 2, "heart": 4}
    assert voxels(editor, 1) == 64
    assert voxels(editor, 2) == (labelmap == 1).sum() - 32
    assert voxels(editor, 4) == (labelmap == 4).sum()
    editor.apply(Adopt(segmentation=given, policy="replace"))
    assert len(editor.state.objects) == 3, "segments of the same name go to the same object"
    assert voxels(editor, 1) == 32


def test_what_encloses_the_rest_and_what_was_not_found_is_no_object(editor: LabelEditor) -> None:
    labelmap = np.zeros(SHAPE, dtype=np.uint8)
    labelmap[1:18], labelmap[8:12] = 1, 4
    given = Segmentation(
        labelmap=labelmap,
        geometry=editor.volume.geometry,
        segments=(Segment(label=1, name="Body"), Segment(label=3, name="Spleen"), Segment(label=4, name="Heart")),
    )
    editor.apply(Adopt.structures(given))
    assert [item.name for item in editor.state.objects] == ["Heart"]
    assert voxels(editor, 4) == (labelmap == 4).sum()
    asked = editor.ask(Point(ras=(0, 0, 0)), label=5)
    assert editor.answer(asked, cube((2, 2, 2)), model=MODEL).voxels_changed == 64, "the body is free"


def test_a_segmentation_of_another_grid_is_refused(editor: LabelEditor) -> None:
    geometry = VolumeGeometry(shape=SHAPE, affine=np.eye(4))
    given = Segmentation(labelmap=np.zeros(SHAPE, dtype=np.uint8), geometry=geometry, segments=())
    with pytest.raises(ValueError, match="own grid"):
        editor.apply(Adopt(segmentation=given))


def test_an_empty_history_says_so(editor: LabelEditor) -> None:
    with pytest.raises(EmptyHistoryError, match="undo"):
        editor.undo()
    with pytest.raises(EmptyHistoryError, match="redo"):
        editor.redo()


@pytest.mark.parametrize("seed", range(3))
def test_every_state_of_random_editing_equals_its_replay(seed: int) -> None:
    """After each edit: replaying the steps that led there gives the same state, on a fresh editor."""
    editor = LabelEditor(blank_volume(SHAPE))
    editing = RandomEditing(editor, seed=seed, size=9)
    for _ in range(60):
        editing.step()
        replay = LabelEditor(blank_volume(SHAPE))
        for step in editor.steps:
            replay.replay(Event(kind="do", step=step))
        assert np.array_equal(replay.labelmap, editor.labelmap)
        assert replay.state.objects == editor.state.objects
        assert replay.state.prompts == editor.state.prompts
        counted = {item.label: voxels(editor, item.label) for item in editor.state.objects}
        assert editor.state.voxels == counted


def test_random_editing_undone_to_the_start_and_redone_passes_through_the_same_states() -> None:
    editor = LabelEditor(blank_volume(SHAPE))
    editing = RandomEditing(editor, seed=11, size=9)
    for _ in range(150):
        editing.step()
    labelmaps = [editor.labelmap]
    while editor.state.undo:
        editor.undo()
        labelmaps.append(editor.labelmap)
    assert not labelmaps[-1].any()
    assert not editor.state.objects
    assert len(labelmaps) > 40
    for expected in reversed(labelmaps[:-1]):
        editor.redo()
        assert np.array_equal(editor.labelmap, expected)
