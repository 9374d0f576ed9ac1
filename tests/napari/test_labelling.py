"""Strokes, marks and drawn prompts as values; labelling on a viewer without a window."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_strategies import geometries
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Labels

from colipri_core.editing.editor import LabelEditor
from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts import Box
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Scribble
from colipri_core.prompts import prompt_mask
from colipri_core.vocabulary.structures import STRUCTURES
from colipri_core.volume import Volume
from napari_colipri.geometry import LayerGrid
from napari_colipri.strokes import stroke_edits
from napari_colipri.tools import drawn_prompt
from napari_colipri.tools import prompt_marks


def editor_on(geometry: VolumeGeometry) -> LabelEditor:
    return LabelEditor(Volume(voxels=np.zeros(geometry.shape, dtype=np.int16), affine=geometry.affine))


@given(geometries(smallest=6, largest=12), st.integers(0, 2**31))
def test_strokes_of_napari_become_the_same_labels_in_the_volume(geometry: VolumeGeometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid, editor = LayerGrid.for_display(geometry), editor_on(geometry)
    layer = Labels(np.zeros(grid.layer_shape, dtype=np.uint16))
    layer.brush_size = 3
    atoms = []
    layer.events.paint.connect(lambda event: atoms.append(event.value))
    for label in (1, 2, 0):
        with layer.block_history():
            for _ in range(3):
                layer.paint(tuple(rng.integers(0, grid.layer_shape)), label)
    layer.data_setitem(tuple(rng.integers(0, size, 4) for size in grid.layer_shape), 7)
    layer.fill((0, 0, 0), 5)
    for item in atoms:
        for edit in stroke_edits(item, grid):
            editor.apply(edit)
    np.testing.assert_array_equal(editor.labelmap, grid.to_volume(layer.data))


def test_one_stroke_is_one_edit() -> None:
    geometry = VolumeGeometry(shape=(12, 12, 12), affine=np.eye(4))
    layer = Labels(np.zeros((12, 12, 12), dtype=np.uint16))
    items = []
    layer.events.paint.connect(lambda event: items.append(event.value))
    with layer.block_history():
        for index in range(2, 9):
            layer.paint((5, 5, index), 3)
    (item,) = items
    assert len(item) > 1
    assert len(stroke_edits(item, LayerGrid.for_display(geometry))) == 1


@given(geometries(), st.data())
def test_boxes_go_from_volume_to_layer_and_back(geometry: VolumeGeometry, data: st.DataObject) -> None:
    grid = LayerGrid.for_display(geometry)
    lower = tuple(data.draw(st.integers(0, size - 1)) for size in geometry.shape)
    upper = tuple(data.draw(st.integers(a + 1, size)) for a, size in zip(lower, geometry.shape, strict=True))
    voxels = np.zeros(geometry.shape, dtype=bool)
    voxels[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = True
    box = grid.layer_box(lower, upper)
    shown = np.zeros(grid.layer_shape, dtype=bool)
    shown[box] = True
    np.testing.assert_array_equal(shown, grid.to_layer(voxels))
    start, size = tuple(part.start for part in box), tuple(part.stop - part.start for part in box)
    assert grid.voxel_corner(start, size) == lower


@given(geometries(smallest=8), st.sampled_from(["point", "scribble", "box", "lasso"]), st.booleans())
def test_what_is_drawn_lies_in_the_patient_where_its_marks_show_it(
    geometry: VolumeGeometry, tool: str, positive: bool
) -> None:
    grid = LayerGrid.for_display(geometry)
    path = np.array([[2.0, 1.0, 1.5], [2.0, 4.0, 1.5], [2.0, 4.0, 6.0], [2.0, 2.0, 6.0]])
    prompt = drawn_prompt(tool, path, grid, positive=positive)
    assert (prompt.kind, prompt.positive) == (tool, positive)
    marks = prompt_marks(prompt, grid)
    expected = {"point": path[-1:], "scribble": path, "lasso": path}.get(tool)
    if expected is None:
        np.testing.assert_allclose([marks.min(axis=0), marks.max(axis=0)], [[2, 1, 1.5], [2, 2, 6]], atol=1e-6)
    else:
        np.testing.assert_allclose(marks, expected, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0, 25])
def test_a_stroke_on_thick_slices_is_as_thin_as_on_thin_ones(axis: int, degrees: float) -> None:
    turn = np.array([[np.cos(np.deg2rad(degrees)), -np.sin(np.deg2rad(degrees))], [0, 0]])
    turn[1] = -turn[0, 1], turn[0, 0]
    affine = np.diag([-0.57, -0.57, 5.0, 1.0])
    affine[:2, :2] = turn @ affine[:2, :2]
    geometry = VolumeGeometry(shape=(64, 64, 20), affine=affine)
    grid = LayerGrid.for_display(geometry)
    along, across = (a for a in (2, 1, 0) if a != axis)
    path = np.full((2, 3), [10.0, 32.0, 32.0])
    path[:, along] = [4.0, 14.0]

    prompt = drawn_prompt("scribble", path, grid, positive=True)

    drawn = grid.to_layer(prompt_mask(prompt, geometry).on_grid(geometry.shape))
    crossed = tuple(np.full(11, index) for index in path[0].astype(int))
    crossed = tuple(np.arange(4, 15) if a == along else line for a, line in enumerate(crossed))
    assert drawn[crossed].all()
    for other in (axis, across):
        width = (np.ptp(np.argwhere(drawn)[:, other]) + 1) * grid.scale[other]
        assert width <= max(3.6, grid.scale[other])


def test_a_lasso_of_two_places_is_none_and_a_phrase_has_no_marks() -> None:
    grid = LayerGrid.for_display(VolumeGeometry(shape=(9, 9, 9), affine=np.eye(4)))
    assert drawn_prompt("lasso", np.array([[1.0, 1, 1], [1, 2, 2], [1, 2, 2]]), grid, positive=True) is None
    assert not len(prompt_marks(Phrase(text="nodule"), grid))


@pytest.mark.parametrize("kind", [Point, Scribble, Box, Lasso])
def test_every_prompt_with_a_place_has_marks(kind: type) -> None:
    grid = LayerGrid.for_display(VolumeGeometry(shape=(9, 9, 9), affine=np.eye(4)))
    corners = ((1, 1, 1), (3, 1, 1), (3, 3, 1))
    fields = {
        Point: {"ras": corners[0]},
        Box: {"lower_ras": corners[0], "upper_ras": corners[2]},
        Scribble: {"ras": corners},
        Lasso: {"ras": corners},
    }
    assert len(prompt_marks(kind(**fields[kind]), grid))


class TestDock:
    """The dock of `conftest`, on a viewer without a window."""

    def open(self, dock, settle) -> None:
        dock.labelling.begin()
        settle(dock)

    def point(self, dock, index: tuple[int, int, int]) -> Point:
        return Point(ras=tuple(dock.workflow.case.source.grid.layer_to_ras(index)))

    def test_edits_queue_behind_long_work_and_none_is_lost(self, dock, engine, viewer, settle, qtbot) -> None:
        self.open(dock, settle)
        engine.gate.clear()
        dock.labelling.prompt(self.point(dock, (12, 18, 14)))
        qtbot.waitUntil(engine.entered.is_set)
        labels = viewer.layers["labels: chest-like"]
        for row in (2, 6, 10):
            labels.paint((3, row, 5), 2)
        dock.labelling.add_object()
        engine.gate.set()
        settle(dock)
        assert dock.labelling.state.undo == ("add", "paint", "paint", "paint", "point")
        assert dock.labelling.sheet.current == 3

    def test_cancel_leaves_labels_and_marks_as_they_were(self, dock, engine, viewer, settle, qtbot) -> None:
        self.open(dock, settle)
        engine.gate.clear()
        dock.labelling.tool = "scribble"
        dock.labelling.drawing(np.array([[12.0, 18, 14], [12, 19, 14]]))
        assert len(viewer.layers["prompts: chest-like"].data) == 2
        dock.labelling.prompt(self.point(dock, (12, 18, 14)))
        qtbot.waitUntil(engine.entered.is_set)
        dock.model_panel.progress.cancel_clicked.emit()
        settle(dock)
        engine.gate.set()
        assert not dock.labelling.state.undo
        assert not viewer.layers["labels: chest-like"].data.any()
        assert not len(viewer.layers["prompts: chest-like"].data)

    def test_only_the_changed_box_is_written(self, dock, viewer, settle) -> None:
        self.open(dock, settle)
        labels = viewer.layers["labels: chest-like"]
        labels.data[0, 0, 0] = 99  # in the layer alone: what is not written again keeps it
        dock.labelling.prompt(self.point(dock, (12, 18, 26)))
        settle(dock)
        assert dock.labelling.state.voxels[1] > 100
        assert labels.data[0, 0, 0] == 99

    def test_structures_and_phrases_become_objects(self, dock, viewer, settle) -> None:
        dock.label_panel.adopt.click()
        settle(dock)
        assert [item.name for item in dock.labelling.state.objects] == ["Airways", "Heart", "Spine"]
        dock.label_panel.next.click()
        settle(dock)
        dock.label_panel.keep.setChecked(False)
        dock.label_panel.phrase.setText("dense spot")
        dock.label_panel.phrase.returnPressed.emit()
        settle(dock)
        assert dock.labelling.state.voxels[4] > 0
        assert dock.labelling.state.prompts == {4: (Phrase(text="dense spot"),)}

    def test_a_click_that_does_nothing_says_why(self, dock, viewer, settle) -> None:
        noticed = []
        dock.labelling.noticed.connect(noticed.append)
        self.open(dock, settle)
        for _ in range(2):
            dock.labelling.prompt(self.point(dock, (12, 18, 26)))
            settle(dock)
            dock.label_panel.next.click()
            settle(dock)
        (words,) = noticed
        assert words.startswith(f"{dock.labelling.state.voxels[1]:,} voxels belong to other objects")
        assert dock.label_panel.keep.text() in words
        dock.labelling.press("undo")
        settle(dock)
        assert len(noticed) == 1

    def test_the_form_changes_the_chosen_object(self, dock, viewer, settle) -> None:
        panel = dock.label_panel
        panel.next.click()
        settle(dock)
        panel.name.setText("spine")
        panel.name.editingFinished.emit()
        settle(dock)
        spine = next(concept for concept in STRUCTURES if concept.name == "Spine")
        (item,) = dock.labelling.state.objects
        assert (item.name, item.code, item.color) == ("Spine", spine.code, spine.color)
        assert dock.label_panel._file_name() == "sub-chestlike_desc-labels_dseg.nii.gz"
        panel.code.setText("SCT:27925004")
        panel.code.editingFinished.emit()
        settle(dock)
        panel.locked.click()
        settle(dock)
        panel.done.click()
        settle(dock)
        (item,) = dock.labelling.state.objects
        assert (item.code, item.locked, item.done) == ("SCT:27925004", True, True)
        panel.remove.click()
        settle(dock)
        assert "Unlock it first" in dock.error_bar.label.text()
        panel.undo.click()
        settle(dock)
        assert not dock.labelling.state.objects[0].done

    def test_saving_a_surface_and_a_wrong_name(self, dock, viewer, settle, tmp_path) -> None:
        self.open(dock, settle)
        dock.labelling.prompt(self.point(dock, (12, 18, 26)))
        settle(dock)
        dock.labelling.export(tmp_path / "lung.stl")
        settle(dock)
        assert (tmp_path / "lung.stl").stat().st_size > 1000
        dock.labelling.export(tmp_path / "lung.xyz")
        settle(dock)
        assert ".nii.gz" in dock.error_bar.label.text()

    def test_removing_the_labels_layer_lets_go_and_opening_again_takes_up(self, dock, viewer, settle) -> None:
        self.open(dock, settle)
        viewer.layers["labels: chest-like"].paint((3, 5, 5), 1)
        settle(dock)
        viewer.layers.remove("labels: chest-like")
        assert dock.labelling.sheet is None
        viewer.layers.remove("prompts: chest-like")
        self.open(dock, settle)
        assert viewer.layers["labels: chest-like"].data[3, 5, 5] == 1

    def test_the_model_is_named_as_soon_as_labels_are_open(self, dock, settle) -> None:
        self.open(dock, settle)
        assert "scripted (5c21b7ed)" in dock.footer.model.text()
        assert not dock.footer.synthetic.isHidden()

    def test_without_a_ct_nothing_happens(self, dock, viewer) -> None:
        viewer.layers.clear()
        assert not dock.labelling.begin()
        dock.labelling.press("undo")
        dock.label_panel.reset.click()
        assert dock.labelling.state is None
