"""Labelling while other work runs: nothing is lost, and what was asked for one scan or object goes to no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_engine import ScriptedEngine

from colipri_core.editing.editor import LabelEditor
from colipri_core.io import read_labelmap
from colipri_core.prompts import Point
from colipri_core.volume import Volume
from napari_colipri.dock import ColipriDock


@pytest.fixture
def analysing(dock: ColipriDock, engine: ScriptedEngine, settle, qtbot) -> Callable[[], None]:
    """Open the labels; from then on Analyse runs until the engine's gate is opened."""

    def start() -> None:
        dock.labelling.begin()
        settle(dock)
        engine.gate.clear()
        engine.entered.clear()
        dock.workflow.analyse()
        qtbot.waitUntil(engine.entered.is_set)

    return start


def saved_edits(volume: Volume, folder: Path) -> tuple[str, ...]:
    """What the journal of a volume holds, newest first."""
    editor = LabelEditor(volume, autosave=folder)
    editor.close()
    return editor.state.undo


def test_strokes_and_saves_that_wait_are_on_disk_after_the_dock_was_closed(
    dock, viewer, engine, volume, analysing, tmp_path, qtbot
) -> None:
    analysing()
    labels = viewer.layers["labels: chest-like"]
    for column in (5, 9, 13):
        labels.paint((3, 5, column), 1)
    dock.labelling.press("undo")
    dock.labelling.export(tmp_path / "labels.nii.gz")

    dock.close()

    qtbot.waitUntil(lambda: engine.closed)
    assert saved_edits(volume, dock.workflow.backend.edits_folder) == ("paint", "paint")
    assert read_labelmap(tmp_path / "labels.nii.gz").labelmap.any()


def point(dock: ColipriDock, index: tuple[int, int, int]) -> Point:
    return Point(ras=tuple(dock.labelling.sheet.case.source.grid.layer_to_ras(index)))


def test_what_follows_new_object_is_the_new_objects_while_a_click_is_answered(
    dock, viewer, engine, settle, qtbot
) -> None:
    dock.labelling.begin()
    settle(dock)
    labels = viewer.layers["labels: chest-like"]
    engine.gate.clear()
    dock.labelling.prompt(point(dock, (12, 18, 12)))
    qtbot.waitUntil(engine.entered.is_set)
    dock.labelling.press("next")
    assert dock.labelling.sheet.current == labels.selected_label == 2
    dock.labelling.prompt(point(dock, (12, 18, 28)))
    dock.labelling.press("next")
    labels.paint((3, 5, 5), labels.selected_label)
    engine.gate.set()
    settle(dock)
    state = dock.labelling.state
    assert {label: len(prompts) for label, prompts in state.prompts.items()} == {1: 1, 2: 1}
    assert [item.label for item in state.objects] == [1, 2, 3]
    assert labels.data[3, 5, 5] == dock.labelling.sheet.current == 3


def test_a_new_object_is_none_of_the_structures_that_are_still_being_outlined(
    dock, viewer, engine, settle, qtbot
) -> None:
    dock.labelling.begin()
    settle(dock)
    engine.gate.clear()
    dock.labelling.adopt_structures()
    qtbot.waitUntil(engine.entered.is_set)
    dock.labelling.press("next")
    dock.labelling.prompt(point(dock, (12, 18, 12)))
    engine.gate.set()
    settle(dock)
    state, current = dock.labelling.state, dock.labelling.sheet.current
    assert [item.name for item in state.objects] == ["Airways", "Heart", "Spine", f"Object {current}"]
    assert list(state.prompts) == [current]
