"""The layers of a case that is labelled: their table, their sizes in any unit, and what happens when one is removed."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from scenes import chest_like
from scenes import dock_on
from scripted_engine import ScriptedEngine

from colipri_core.prompts import Point
from napari_colipri.dock import ColipriDock


def click(dock: ColipriDock, index: tuple[int, int, int]) -> None:
    """Point at a voxel of the layer."""
    place = dock.labelling.sheet.case.source.grid.layer_to_ras(index)
    dock.labelling.prompt(Point(ras=tuple(map(float, place))))


def test_the_table_and_the_status_line_have_the_volume_that_the_object_has(dock, viewer, settle) -> None:
    dock.labelling.begin()
    settle(dock)
    labels = viewer.layers["labels: chest-like"]
    volumes = set()
    for index in ((12, 18, 12), (12, 18, 28)):
        click(dock, index)
        settle(dock)
        (volume,) = dock.labelling.state.volumes_ml().values()
        assert labels.features["volume_ml"][1] == volume
        status = labels.get_status(labels.data_to_world(index), dims_displayed=[1, 2], world=True)
        assert f"volume_ml: {volume:.3g}" in status["value"]
        volumes.add(volume)
    assert len(volumes) == 2
    dock.labelling.press("undo")
    settle(dock)
    assert labels.features["volume_ml"][1] == min(volumes)


def test_strokes_stay_edits_when_the_marks_are_removed_and_marks_come_back_with_the_next_prompt(
    dock, viewer, settle
) -> None:
    dock.labelling.begin()
    settle(dock)
    labels = viewer.layers["labels: chest-like"]
    viewer.layers.selection.active = labels
    viewer.layers.remove("prompts: chest-like")
    labels.paint((3, 5, 5), 1)
    settle(dock)
    assert dock.labelling.state.undo == ("paint",)
    assert [layer.name for layer in viewer.layers] == ["chest-like", "labels: chest-like"]
    click(dock, (12, 18, 12))
    settle(dock)
    assert len(viewer.layers["prompts: chest-like"].data) == 1
    assert viewer.layers.selection.active == labels
    viewer.layers.clear()
    assert len(viewer.layers) == 0


@pytest.mark.parametrize(
    ("unit", "size", "outline", "mark"),
    [
        ("mm", 0.75, 2, 4.0),
        ("cm", 0.075, 2, 4.0),
        ("m", 0.00075, 2, 4.0),
        ("um", 750.0, 2, 4.0),
        ("pixel", 1e-4, 10, 50.0),
        ("mm", 40.0, 1, 1.0),
    ],
)
def test_outlines_and_marks_are_as_wide_in_any_unit_and_never_huge(
    viewer: ViewerModel, settle, qtbot, unit: str, size: float, outline: int, mark: float
) -> None:
    layer = viewer.add_image(np.transpose(chest_like().voxels), units=(unit,) * 3, scale=(5 * size, size, size))
    dock = dock_on(viewer, ScriptedEngine())
    qtbot.addWidget(dock)
    dock.workflow.outline()
    settle(dock)
    dock.labelling.begin()
    settle(dock)
    assert dock.workflow.case.labels.contour == outline
    assert dock.labelling.sheet.marks.current_size == pytest.approx(mark)
    assert dock.workflow.layer == layer


def test_the_label_that_napari_selects_is_the_object_that_is_edited(dock, viewer, settle) -> None:
    dock.labelling.begin()
    settle(dock)
    dock.labelling.add_object()
    dock.labelling.add_object()
    settle(dock)
    labels, sheet, panel = viewer.layers["labels: chest-like"], dock.labelling.sheet, dock.label_panel
    labels.selected_label = 1
    assert (sheet.current, panel.delegate.current, panel.name.text()) == (1, 1, "Object 1")
    labels.selected_label = 5
    click(dock, (12, 18, 12))
    settle(dock)
    assert list(dock.labelling.state.prompts) == [5]
    labels.swap_selected_and_background_labels()
    assert (labels.selected_label, sheet.current) == (0, 5)
    dock.labelling.press("brush")
    assert labels.selected_label == 5
    dock.labelling.choose_object(2)
    assert (labels.selected_label, sheet.current) == (2, 2)


def test_a_tool_rests_while_another_layer_is_active(dock, viewer, settle) -> None:
    button = dock.label_panel.tools["point"]
    button.click()
    settle(dock)
    viewer.layers.selection.active = viewer.layers["chest-like"]
    assert dock.labelling.tool is None
    assert not button.isChecked()
    viewer.layers.selection.active = viewer.layers["labels: chest-like"]
    assert button.isChecked()
    dock.workflow.analyse()
    settle(dock)
    settle(dock)
    assert dock.labelling.tool == "point"
    viewer.layers.remove("labels: chest-like")
    assert not button.isChecked()


def test_the_view_can_be_turned_in_3d_with_a_prompt_tool_in_hand(dock, viewer, settle) -> None:
    dock.labelling.press("point")
    settle(dock)
    camera = viewer.scene.camera
    assert not camera.mouse_pan
    viewer.dims.ndisplay = 3
    assert camera.mouse_pan
    dock.labelling.press("brush")
    assert not camera.mouse_pan
    dock.labelling.press("scribble")
    assert camera.mouse_pan
    viewer.dims.ndisplay = 2
    assert not camera.mouse_pan
    dock.labelling.press("scribble")
    assert camera.mouse_pan
