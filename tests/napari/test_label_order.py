"""Labelling while other work runs: nothing is lost, and what was asked for one scan or object goes to no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.key_bindings import coerce_keybinding
from scenes import add_volume
from scripted_engine import ScriptedEngine

from colipri_core.editing.editor import LabelEditor
from colipri_core.io import read_labelmap
from colipri_core.prompts import Point
from colipri_core.volume import Volume
from napari_colipri.dock import ColipriDock
from napari_colipri.label_layers import Sheet


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


@pytest.fixture
def second(viewer: ViewerModel, volume: Volume) -> Image:
    """Another CT in the viewer."""
    return add_volume(viewer, dataclasses.replace(volume, voxels=volume.voxels + 1, name="second"))


def open_both(dock: ColipriDock, second: Image, settle) -> tuple[Sheet, Sheet]:
    """Open the labels of both CTs; the first one is chosen then."""
    sheets = []
    for ct in (second, dock.viewer.layers["chest-like"]):
        dock.workflow.choose(ct)
        dock.labelling.begin()
        settle(dock)
        sheets.append(dock.labelling.sheet)
    return sheets[1], sheets[0]


def test_keys_act_on_the_labels_layer_that_hears_them(dock, viewer, second, settle) -> None:
    first, other = open_both(dock, second, settle)
    for sheet in (first, other):
        viewer.layers.selection.active = sheet.labels
        sheet.labels.paint((3, 5, 5), 1)
    settle(dock)
    assert dock.workflow.layer == second
    assert dock.model_panel.layers.currentText() == "second"
    other.labels.keymap[coerce_keybinding("Control-Z")](other.labels)
    settle(dock)
    assert (first.state.undo, other.state.undo) == (("paint",), ())

    dock.model_panel.layers.setCurrentIndex(dock.model_panel.layers.findText("chest-like"))
    assert dock.workflow.layer == first.case.layer
    other.labels.keymap[coerce_keybinding("N")](other.labels)  # its layer is the active one still
    settle(dock)
    assert (first.state.undo, other.state.undo) == (("paint",), ("add",))
    assert dock.labelling.sheet is other


def test_a_ct_removed_while_strokes_wait_is_let_go_after_them(dock, viewer, engine, volume, analysing, settle) -> None:
    analysing()
    viewer.layers["labels: chest-like"].paint((3, 5, 5), 1)

    viewer.layers.remove("chest-like")
    engine.gate.set()
    settle(dock)

    assert all(session.closed for session in engine.sessions)
    assert saved_edits(volume, dock.workflow.backend.edits_folder) == ("paint",)


def test_what_is_asked_for_one_ct_is_done_to_it_after_another_was_chosen(
    dock, viewer, engine, second, settle, qtbot
) -> None:
    first = dock.workflow.layer
    dock.workflow.choose(second)
    dock.labelling.press("point")
    settle(dock)
    other = dock.labelling.sheet
    dock.workflow.choose(first)
    engine.gate.clear()
    engine.entered.clear()
    dock.workflow.show_evidence("Lung nodule")
    qtbot.waitUntil(engine.entered.is_set)
    dock.labelling.press("next")
    dock.labelling.ask_phrase("Pleural effusion")
    viewer.layers.selection.active = other.labels
    dock.labelling.press("point")
    engine.gate.set()
    settle(dock)

    assert (dock.labelling.sheet, dock.labelling.tool) == (other, "point")
    assert viewer.layers.selection.active == other.labels
    assert (other.state.objects, other.state.prompts) == ((), {})
    dock.workflow.choose(first)
    state = dock.labelling.state
    assert [item.name for item in state.objects] == ["Pleural effusion"]
    assert list(state.prompts) == [1]


def test_a_tool_is_in_hand_from_the_press_on_while_labels_wait_to_be_opened(dock, engine, settle, qtbot) -> None:
    button = dock.label_panel.tools["point"]
    engine.gate.clear()
    dock.workflow.analyse()
    qtbot.waitUntil(engine.entered.is_set)
    button.click()
    assert button.isChecked()
    dock.label_panel.tools["box"].click()
    engine.gate.set()
    settle(dock)
    assert dock.labelling.tool == "box"
    assert dock.label_panel.tools["box"].isChecked()


def test_labels_that_cannot_be_opened_put_the_tool_down(dock, volume, settle) -> None:
    elsewhere = LabelEditor(volume, autosave=dock.workflow.backend.edits_folder)
    dock.label_panel.tools["point"].click()
    settle(dock)
    assert dock.labelling.tool is None
    assert not dock.label_panel.tools["point"].isChecked()
    assert "is in use" in dock.error_bar.label.text()
    elsewhere.close()


def test_a_scan_in_two_layers_is_labelled_in_one_of_them(dock, viewer, volume, settle) -> None:
    dock.labelling.press("point")
    settle(dock)
    sheet = dock.labelling.sheet
    again = add_volume(viewer, volume)
    dock.workflow.choose(again)
    dock.labelling.press("point")
    settle(dock)
    assert dock.labelling.sheet is None
    assert dock.labelling.tool is None
    assert 'open on the layer "chest-like"' in dock.error_bar.label.text()
    viewer.layers.remove(sheet.labels)
    dock.workflow.choose(again)
    dock.labelling.begin()
    settle(dock)
    assert dock.labelling.sheet.case.layer == again
