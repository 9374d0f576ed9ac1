"""The JSON log of edits replays to the same labels, and says no to anything else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edit_scripts import RandomEditing
from edit_scripts import blank_volume

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.log import edit_log
from colipri_core.editing.log import replay_log
from colipri_core.errors import UnreadableInputError

SHAPE = (24, 20, 16)


def log_of(editor: LabelEditor) -> dict[str, object]:
    return json.loads(json.dumps(edit_log(editor.volume, editor.steps)))


@pytest.fixture
def editor() -> LabelEditor:
    editor = LabelEditor(blank_volume(SHAPE))
    editing = RandomEditing(editor, seed=2)
    for _ in range(60):
        editing.step()
    return editor


def test_a_log_replays_to_the_same_labels(editor: LabelEditor) -> None:
    replayed = replay_log(log_of(editor))
    assert np.array_equal(replayed.labelmap, editor.labelmap)
    assert replayed.segments == editor.segments
    assert replayed.geometry == editor.volume.geometry


def test_a_log_names_prompts_and_models(editor: LabelEditor) -> None:
    steps = log_of(editor)["steps"]
    prompted = [step for step in steps if step["prompt"]]
    assert prompted
    assert all(step["model"]["name"] == "grower" and step["prompt"]["kind"] == "point" for step in prompted)


@pytest.mark.parametrize("damage", ["format", "version", "shape", "steps", "box", "voxels"])
def test_a_damaged_log_is_refused(editor: LabelEditor, damage: str) -> None:
    log = log_of(editor)
    drawn = next(step for step in log["steps"] if step["delta"])
    if damage == "box":
        drawn["delta"]["lower"] = [100, 0, 0]
    elif damage == "voxels":
        drawn["voxels"] = "AAAA"
    elif damage == "version":
        log["version"] = 99
    else:
        del log[damage]
    with pytest.raises(UnreadableInputError, match="log of edits"):
        replay_log(log)


INFINITY = float("inf")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("shape",), [INFINITY, 20, 16]),
        (("shape",), [-24, 20, 16]),
        (("affine",), "x"),
        (("steps",), {"0": {}}),
        (("steps", -1), "x"),
        (("steps", -1, "label"), INFINITY),
        (("steps", -1, "voxels"), None),
        (("steps", -1, "prompt"), "point"),
        (("steps", -1, "prompt"), [1, 2, 3]),
        (("steps", -1, "dropped"), [[1, ["point"]]]),
        (("steps", -1, "delta", "lower"), [INFINITY, 0, 0]),
        (("steps", -1, "objects", 0, 1, "name"), None),
        (("steps", -1, "objects", 0, 1, "name"), 5),
        (("steps", -1, "objects", 0, 1, "color"), [INFINITY, 0, 0]),
        (("steps", -1, "objects", 0, 1, "label"), "x"),
    ],
)
def test_values_of_another_type_or_size_are_refused(editor: LabelEditor, place: tuple, value: object) -> None:
    log = log_of(editor)
    named = next(n for n, step in enumerate(log["steps"]) if step["delta"] and step["objects"])
    del log["steps"][named + 1 :]
    *way, last = place
    inner = log
    for key in way:
        inner = inner[key]
    inner[last] = value
    with pytest.raises(UnreadableInputError, match="log of edits"):
        replay_log(log)


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_what_is_no_log_at_all_is_refused(document: object) -> None:
    with pytest.raises(UnreadableInputError, match="log of edits"):
        replay_log(document)
