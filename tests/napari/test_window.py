"""The dock in a real napari window: opening, closing, the mouse on the canvas. Private napari attributes stay here."""

from __future__ import annotations

import numpy as np
import pytest
from napari._app_model import get_app_model
from qtpy.QtCore import QPoint
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QLineEdit
from qtpy.QtWidgets import QPlainTextEdit
from qtpy.QtWidgets import QPushButton
from scenes import add_volume
from scripted_engine import ScriptedEngine

from colipri_core.volume import Volume
from napari_colipri.source import layer_grid


@pytest.fixture
def window(make_napari_viewer, oblique_volume: Volume, engine: ScriptedEngine, monkeypatch):
    """A viewer with an oblique CT and the dock as napari opens it: from the manifest, on a proxy of the viewer."""
    monkeypatch.setattr("napari_colipri.backend.open_engine", lambda *_args, **_options: engine)
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 900)
    add_volume(viewer, oblique_volume)
    _, dock = viewer.window.add_plugin_dock_widget("napari-colipri", "COLIPRI")
    yield viewer, dock
    engine.gate.set()


def bound_keys(viewer) -> set[str]:
    return {str(key) for key in viewer.keymap if str(key).startswith("Alt")}


def test_the_mouse_over_an_oblique_volume_shows_true_ras(window, oblique_volume: Volume, qtbot) -> None:
    viewer, _ = window
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.waitUntil(lambda: canvas.width() > 300)
    middle = QPoint(canvas.width() // 2 - 15, canvas.height() // 2 + 20)

    QTest.mouseMove(canvas, middle - QPoint(8, 8))
    QTest.mouseMove(canvas, middle)
    qtbot.waitUntil(lambda: "R " in str(viewer.status), timeout=5000)

    layer = viewer.layers[0]
    voxel = oblique_volume.geometry.world_to_index(
        layer_grid(layer).layer_to_ras(layer.world_to_data(viewer.cursor.position))
    )
    right, anterior, superior = oblique_volume.geometry.index_to_world(voxel)
    qtbot.waitUntil(lambda: f"R {right:.1f}  A {anterior:.1f}  S {superior:.1f} mm" in str(viewer.status))
    value = oblique_volume.voxels[tuple(np.round(voxel).astype(int))]
    assert f"{value} HU" in str(viewer.status)
    assert str(viewer.status).endswith(" HU")


def test_nothing_in_the_dock_is_cut_when_a_ct_is_opened(window, qtbot) -> None:
    _, dock = window
    kinds = (QLabel, QLineEdit, QPushButton)
    shown = [widget for kind in kinds for widget in dock.findChildren(kind) if widget.isVisible()]
    shown = [widget for widget in shown if not isinstance(widget.parent(), QComboBox)]
    assert len(shown) > 10

    def all_whole() -> None:
        for widget in shown:
            wanted = widget.heightForWidth(widget.width()) if widget.hasHeightForWidth() else widget.sizeHint().height()
            visible = widget.visibleRegion().boundingRect().height()
            assert min(widget.height(), visible) >= wanted, widget.text() or widget.toolTip()

    qtbot.waitUntil(all_whole, timeout=5000)


def test_closing_the_viewer_during_a_job_waits_for_nothing(window, engine: ScriptedEngine, qtbot) -> None:
    viewer, dock = window
    engine.gate.clear()
    dock.model_panel.analyse.click()
    qtbot.waitUntil(engine.entered.is_set)

    viewer.close()

    assert dock.closed
    qtbot.waitUntil(lambda: engine.closed)


def test_closing_the_dock_frees_the_model_and_the_keys(window, engine: ScriptedEngine, qtbot) -> None:
    viewer, dock = window
    assert len(bound_keys(viewer)) == 6
    dock.model_panel.analyse.click()
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)

    viewer.window.remove_dock_widget(dock)

    assert dock.closed
    assert bound_keys(viewer) == set()
    qtbot.waitUntil(lambda: engine.closed and all(session.closed for session in engine.sessions))
    viewer.status = "napari's own"
    assert viewer.status == "napari's own"
    viewer.layers.clear()


def test_removing_layers_through_the_window_is_noticed(window, qtbot) -> None:
    """Napari hands plugins proxies of its layers; what Qt removes are the layers themselves."""
    viewer, dock = window
    dock.model_panel.analyse.click()
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)
    dock.workflow.show_evidence("Lung nodule")
    qtbot.waitUntil(lambda: not dock.jobs.busy)
    assert dock.findings_panel.delegate.shown == {"Lung nodule"}

    viewer.layers.remove("evidence: Lung nodule")
    assert dock.findings_panel.delegate.shown == frozenset()
    viewer.layers.remove("structures: chest-like")
    assert dock.structures_panel.model.rows == ()
    viewer.layers.remove("chest-like")
    assert dock.findings_panel.model.rows == ()
    assert not dock.model_panel.analyse.isEnabled()


def test_a_sentence_is_clicked_and_edited_with_the_mouse(window, qtbot) -> None:
    viewer, dock = window
    dock.model_panel.analyse.click()
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)
    rows = dock.report.panel.list
    qtbot.waitUntil(lambda: rows.viewport().isVisible())
    first = rows.model().index(1)
    rows.scrollTo(first)
    center = rows.visualRect(first).center()

    QTest.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=center)
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)
    assert "evidence: Pleural effusion" in viewer.layers

    QTest.mouseDClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=center)
    qtbot.waitUntil(lambda: rows.findChild(QPlainTextEdit) is not None and not dock.jobs.busy, timeout=30_000)
    editor = rows.findChild(QPlainTextEdit)
    QTest.keyClicks(editor, "Mine.")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    assert rows.model().rows[1].text == "Mine."
    assert rows.model().rows[1].flags == "edited"


def test_menus_offer_the_dock(make_napari_viewer) -> None:
    make_napari_viewer(show=False)
    menus = get_app_model().menus

    for menu in ("napari/layers/segment", "napari/layers/classify"):
        titles = [item.command.title for item in menus.get_menu(menu)]
        assert any("COLIPRI" in title for title in titles)
