"""Labelling in a real napari window, by mouse and keys, on every plane. Private napari attributes stay here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QPoint
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from scenes import add_volume
from scripted_engine import ScriptedEngine

from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.log import replay_log
from colipri_core.io import read_labelmap
from colipri_core.volume import Volume
from napari_colipri.label_canvas import KEYS
from napari_colipri.navigation import show_plane
from napari_colipri.source import layer_grid


class Hand:
    """A user at a napari window: mouse and keys on the canvas, and what they see.

    Args:
        viewer: The viewer.
        dock: The dock.
        qtbot: Pytest-qt's.
    """

    def __init__(self, viewer, dock, qtbot) -> None:
        self.viewer, self.dock, self.qtbot = viewer, dock, qtbot
        self.canvas = viewer.window._qt_viewer.canvas.native
        self.ct = viewer.layers[0]
        self.grid = layer_grid(self.ct)

    @property
    def labels(self):
        return self.viewer.layers["labels: chest-like"]

    @property
    def state(self):
        return self.dock.labelling.state

    def settle(self) -> None:
        self.qtbot.waitUntil(lambda: not self.dock.jobs.busy, timeout=60_000)

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifier)
        self.settle()

    def drag(self, *indices: tuple[float, float, float]) -> None:
        """Press at the first voxel (layer index), move through the others, release at the last."""
        places = [self._pixel(index) for index in indices]
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(self.canvas, places[0])
        QTest.mousePress(self.canvas, left, none, places[0])
        for place in places[1:]:
            QTest.mouseMove(self.canvas, place)
            self.qtbot.wait(20)  # or the moves are merged into one
        QTest.mouseRelease(self.canvas, left, none, places[-1])
        self.settle()

    def labelmap(self) -> np.ndarray:
        """The session's labels, on the volume's grid."""
        return self.dock.workflow.backend._session.segmentation.labelmap

    def assert_in_step(self) -> None:
        """What the layer shows is what the session holds."""
        np.testing.assert_array_equal(self.labels.data, self.grid.to_layer(self.labelmap()))

    def _pixel(self, index: tuple[float, float, float]) -> QPoint:
        transform = self.viewer.window._qt_viewer.layer_to_visual[self._inner(self.ct)].node.get_transform(
            "visual", "canvas"
        )
        displayed = [index[axis] for axis in self.viewer.dims.displayed]
        x, y = transform.map((displayed[1], displayed[0]))[:2]
        return QPoint(round(x), round(y))

    def _inner(self, layer):
        return next(one for one in self.viewer.window._qt_viewer.layer_to_visual if one == layer)


@pytest.fixture
def scan() -> str:
    """Which CT is opened."""
    return "oblique_volume"


@pytest.fixture
def hand(request, scan: str, make_napari_viewer, engine: ScriptedEngine, monkeypatch, qtbot) -> Hand:
    monkeypatch.setattr("napari_colipri.backend.open_engine", lambda *_args, **_options: engine)
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 1000)
    add_volume(viewer, request.getfixturevalue(scan))
    _, dock = viewer.window.add_plugin_dock_widget("napari-colipri", "COLIPRI")
    hand = Hand(viewer, dock, qtbot)
    qtbot.waitUntil(lambda: hand.canvas.width() > 300)
    return hand


def lung(hand: Hand, volume: Volume) -> tuple[int, int, int]:
    """Layer index of a voxel deep in a lung."""
    i, j, k = volume.shape
    ras = volume.geometry.index_to_world((round(0.3 * (i - 1)), round(0.5 * (j - 1)), k // 2))
    first, second, third = (int(value) for value in np.round(hand.grid.ras_to_layer(ras)))
    return first, second, third


def assert_saved(hand: Hand, folder: Path, expected: np.ndarray, volume: Volume) -> None:
    """What is saved has the volume's own grid, and its log replays to the same labels."""
    hand.dock.labelling.export(folder / "labels.nii.gz")
    hand.settle()
    saved = read_labelmap(folder / "labels.nii.gz")
    assert saved.geometry == volume.geometry
    np.testing.assert_array_equal(saved.labelmap, expected)
    replayed = replay_log(json.loads((folder / "labels_edits.json").read_text()))
    np.testing.assert_array_equal(replayed.labelmap, expected)


@pytest.mark.parametrize("scan", ["oblique_volume", "volume"], ids=["oblique", "flipped"])
def test_clicks_on_three_planes_a_stroke_and_undo_after_slice_changes(hand: Hand, tmp_path: Path) -> None:
    volume = hand.dock.workflow.case_to_edit().source.volume
    place = lung(hand, volume)
    voxel = np.round(volume.geometry.world_to_index(hand.grid.layer_to_ras(place))).astype(int)
    hand.dock.label_panel.tools["point"].click()
    hand.settle()
    states = [hand.labelmap()]
    for plane in ("Axial", "Coronal", "Sagittal"):
        show_plane(hand.viewer, plane)
        hand.viewer.dims.set_point(range(3), hand.ct.data_to_world(place))
        hand.drag(place)
        (point,) = hand.state.prompts[1][len(states) - 1 :]
        found = np.round(volume.geometry.world_to_index(point.ras)).astype(int)
        assert np.abs(found - voxel).max() <= 1, plane
        states.append(hand.labelmap())
        hand.assert_in_step()
    assert (states[1] == 1).sum() > 100
    assert np.abs(volume.voxels[states[1] == 1] + 820).max() < 200

    show_plane(hand.viewer, "Axial")
    hand.key(Qt.Key.Key_D)
    assert hand.labels.mode == "paint"
    hand.viewer.dims.set_point(0, hand.ct.data_to_world((3, 0, 0))[0])
    hand.drag((3, 5, 5), (3, 5, 8), (3, 5, 12))
    assert hand.state.undo[0] == "paint"
    assert (hand.labels.data[3, 5, 5:13] == 1).all()
    hand.assert_in_step()
    states.append(hand.labelmap())

    hand.viewer.dims.set_point(0, hand.ct.data_to_world((20, 0, 0))[0])  # napari's own undo forgets here
    for expected in reversed(states[:-1]):
        hand.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        np.testing.assert_array_equal(hand.labelmap(), expected)
        hand.assert_in_step()
    assert not hand.state.prompts
    hand.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    for expected in states[1:]:
        hand.key(Qt.Key.Key_Z, both)
        np.testing.assert_array_equal(hand.labelmap(), expected)
    hand.assert_in_step()
    assert_saved(hand, tmp_path, states[-1], volume)


def test_scribble_box_lasso_sign_and_objects_by_key(hand: Hand) -> None:
    volume = hand.dock.workflow.case_to_edit().source.volume
    hand.dock.label_panel.tools["scribble"].click()
    hand.settle()
    k, j, i = lung(hand, volume)
    hand.viewer.dims.set_point(range(3), hand.ct.data_to_world((k, j, i)))
    hand.drag((k, j - 2, i), (k, j, i), (k, j + 2, i))
    hand.key(Qt.Key.Key_B)
    hand.drag((k, j - 3, i - 2), (k, j, i), (k, j + 3, i + 2))
    hand.key(Qt.Key.Key_L)
    hand.drag((k, j - 2, i - 2), (k, j - 2, i + 2), (k, j + 2, i + 2), (k, j + 2, i - 2))
    hand.key(Qt.Key.Key_T)
    assert not hand.dock.labelling.positive
    hand.key(Qt.Key.Key_P)
    hand.drag((k, j, i + 3))
    kinds = [(prompt.kind, prompt.positive) for prompt in hand.state.prompts[1]]
    assert kinds == [("scribble", True), ("box", True), ("lasso", True), ("point", False)]
    assert len(hand.viewer.layers["prompts: chest-like"].data) > 10
    hand.assert_in_step()

    hand.key(Qt.Key.Key_N)
    assert hand.dock.labelling.sheet.current == 2
    assert hand.labels.selected_label == 2
    assert [row.label for row in hand.dock.label_panel.model.rows] == [1, 2]
    hand.dock.labelling.choose_object(1)
    hand.dock.label_panel.name.setText("Left lung")
    hand.dock.label_panel.name.editingFinished.emit()
    hand.settle()
    assert hand.state.objects[0].name == "Left lung"
    assert list(hand.labels.features["name"]) == ["background", "Left lung", "Object 2"]


def test_a_stroke_over_a_locked_object_is_taken_off_the_layer_again(hand: Hand) -> None:
    hand.dock.label_panel.tools["brush"].click()
    hand.settle()
    k = 3
    hand.viewer.dims.set_point(0, hand.ct.data_to_world((k, 0, 0))[0])
    hand.drag((k, 5, 5), (k, 5, 12))
    hand.dock.labelling.edit(ChangeObject(label=1, locked=True))
    hand.settle()
    before = hand.labelmap()
    hand.dock.labelling.choose_object(2)
    hand.drag((k, 2, 8), (k, 5, 8), (k, 9, 8))
    assert (hand.labelmap() == 2).sum() > 0
    np.testing.assert_array_equal(hand.labelmap() == 1, before == 1)
    hand.assert_in_step()
    hand.dock.labelling.choose_object(1)
    hand.drag((k, 14, 5), (k, 14, 12))
    assert "Unlock it first" in hand.dock.error_bar.label.text()
    np.testing.assert_array_equal(hand.labelmap() == 1, before == 1)
    hand.assert_in_step()


def test_keys_go_when_the_dock_closes_and_edits_come_back_when_it_opens(hand: Hand, edits_folder) -> None:
    hand.dock.label_panel.tools["brush"].click()
    hand.settle()
    hand.viewer.dims.set_point(0, hand.ct.data_to_world((3, 0, 0))[0])
    hand.drag((3, 5, 5), (3, 5, 12))
    drawn = hand.labelmap()
    labels = hand.labels
    hand.viewer.window.remove_dock_widget(hand.dock)
    assert not {str(key) for key in labels.keymap} & set(KEYS.values())
    assert labels.mouse_pan or labels.mode != "pan_zoom"

    hand.viewer.layers.remove("labels: chest-like")
    hand.viewer.layers.remove("prompts: chest-like")
    _, hand.dock = hand.viewer.window.add_plugin_dock_widget("napari-colipri", "COLIPRI")
    hand.dock.label_panel.tools["point"].click()
    hand.settle()
    np.testing.assert_array_equal(hand.labelmap(), drawn)
    hand.assert_in_step()
    assert "1 earlier edits" in hand.dock.label_panel.note.text()


@pytest.mark.parametrize("tool", ["scribble", "brush"])
def test_space_moves_the_view_with_a_tool_in_hand(hand: Hand, tool: str) -> None:
    hand.dock.label_panel.tools[tool].click()
    hand.settle()
    place = (hand.labels.data.shape[0] // 2, *(size // 3 for size in hand.labels.data.shape[1:]))
    hand.viewer.dims.set_point(range(3), hand.ct.data_to_world(place))
    center, there = hand.viewer.camera.center, (place[0], place[1] + 6, place[2] + 6)
    hand.canvas.setFocus()
    QTest.keyPress(hand.canvas, Qt.Key.Key_Space)
    hand.drag(place, there)
    QTest.keyRelease(hand.canvas, Qt.Key.Key_Space)
    assert hand.viewer.camera.center != center
    assert hand.state.undo == ()
    assert hand.dock.labelling.tool == tool

    center = hand.viewer.camera.center
    hand.drag(place, there)
    assert hand.viewer.camera.center == center
    assert hand.state.undo == ("paint" if tool == "brush" else tool,)
    hand.assert_in_step()
