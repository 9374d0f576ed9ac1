"""The dock as it is used: analyse, click, ask, outline, cancel, close."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import QPoint
from qtpy.QtCore import Qt
from qtpy.QtCore import QTimer
from scenes import add_volume
from scenes import chest_like
from scenes import dock_on
from scripted_engine import WARNING
from scripted_engine import ScriptedEngine
from scripted_engine import expected_peak

from colipri_core.errors import ModelUnavailableError
from colipri_core.geometry import VolumeGeometry
from colipri_core.volume import Volume
from napari_colipri import navigation
from napari_colipri.source import layer_grid
from napari_colipri.workflow import MAX_HEAT_LAYERS


@pytest.fixture
def analysed(dock, settle):
    dock.model_panel.analyse.click()
    settle(dock)
    return dock


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def click(qtbot, rows, row: int, *, x: int = 80, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    place = rows.visualRect(rows.model().index(row, 0))
    qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, modifier, QPoint(x, place.center().y()))


class TestAnalyse:
    def test_findings_are_listed_most_probable_first(self, analysed) -> None:
        rows = analysed.findings_panel.model.rows

        assert len(rows) == 18
        assert [row.probability for row in rows] == sorted((row.probability for row in rows), reverse=True)
        assert "Not calibrated" in analysed.findings_panel.note.text()

    def test_structures_are_outlined_in_one_named_layer(self, analysed, viewer, volume: Volume) -> None:
        layer = viewer.layers["structures: chest-like"]
        ct = viewer.layers["chest-like"]

        assert layer.data.shape == ct.data.shape
        assert np.allclose(layer.scale, ct.scale)
        assert np.allclose(layer.translate, ct.translate)
        assert list(layer.features["name"]) == ["background", "Airways", "Heart", "Spine"]
        assert np.allclose(layer.get_color(2)[:3], np.array((206, 110, 84)) / 255, atol=0.01)
        assert layer.opacity >= 0.5
        bone = (volume.voxels >= 250).sum() * volume.geometry.voxel_volume_ml
        assert analysed.structures_panel.model.rows[2].volume_ml == pytest.approx(bone)

    def test_a_model_that_reads_no_text_still_outlines(self, engine, dock, viewer, settle) -> None:
        engine.reads_words = False
        dock.model_panel.analyse.click()
        settle(dock)
        assert dock.findings_panel.model.rows == ()
        assert "structures: chest-like" in names(viewer)

    def test_the_model_is_named_with_its_warning(self, analysed) -> None:
        assert "scripted (5c21b7ed)" in analysed.footer.model.text()
        assert not analysed.footer.synthetic.isHidden()
        assert not analysed.footer.research.isHidden()

    def test_warnings_of_the_result_stay_in_sight(self, dock, engine: ScriptedEngine, settle) -> None:
        engine.warnings = (WARNING,)
        dock.model_panel.analyse.click()
        settle(dock)

        assert WARNING in dock.warning_bar.label.text()
        assert not dock.warning_bar.isHidden()

    def test_a_model_without_structures_lists_findings_only(self, dock, engine, viewer, settle) -> None:
        engine.with_structures = False
        dock.model_panel.analyse.click()
        settle(dock)

        assert len(dock.findings_panel.model.rows) == 18
        assert names(viewer) == ["chest-like"]
        assert dock.error_bar.isHidden()

    def test_the_engine_is_used_on_one_thread_that_is_not_this_one(self, analysed, engine: ScriptedEngine) -> None:
        assert len(engine.threads) == 1
        assert threading.get_ident() not in engine.threads

    def test_the_window_keeps_ticking(self, dock, engine: ScriptedEngine, settle, qtbot) -> None:
        engine.gate.clear()
        ticks = []
        timer = QTimer()
        timer.timeout.connect(lambda: ticks.append(dock.jobs.busy))
        timer.start(5)
        dock.model_panel.analyse.click()

        qtbot.waitUntil(lambda: len(ticks) > 10)

        assert all(ticks[1:10])
        engine.gate.set()
        settle(dock)


class TestEvidence:
    def test_a_click_shows_the_map_and_goes_to_its_peak(self, analysed, viewer, volume, settle, qtbot) -> None:
        row = analysed.findings_panel.model.rows[0]
        click(qtbot, analysed.findings_panel.list, 0)
        settle(analysed)

        heat, ct = viewer.layers[f"evidence: {row.name}"], viewer.layers["chest-like"]
        peak = np.unravel_index(np.argmax(heat.data), heat.data.shape)
        assert heat.data.shape == ct.data.shape
        assert np.allclose(heat.scale, ct.scale)
        assert np.allclose(heat.translate, ct.translate)
        assert heat.blending == "additive"
        assert tuple(viewer.dims.current_step) == tuple(peak)
        true_peak = volume.geometry.index_to_world(expected_peak(volume, row.name))
        assert np.allclose(analysed.workflow.case.source.grid.layer_to_ras(peak), true_peak)
        assert analysed.findings_panel.delegate.shown == {row.name}

    def test_one_map_at_a_time_unless_shift_is_held(self, analysed, viewer, settle, qtbot) -> None:
        rows = analysed.findings_panel.model.rows
        click(qtbot, analysed.findings_panel.list, 0)
        settle(analysed)
        analysed.workflow.show_evidence(rows[1].name)
        settle(analysed)
        assert analysed.workflow.case.shown == {rows[1].name}

        analysed.workflow.show_evidence(rows[2].name, keep_others=True)
        settle(analysed)
        assert analysed.workflow.case.shown == {rows[1].name, rows[2].name}

    def test_a_second_click_hides_it_and_escape_too(self, analysed, settle, qtbot) -> None:
        rows = analysed.findings_panel.list
        click(qtbot, rows, 0)
        settle(analysed)
        click(qtbot, rows, 0)
        assert analysed.workflow.case.shown == frozenset()

        click(qtbot, rows, 1)
        settle(analysed)
        assert analysed.workflow.case.shown
        qtbot.keyClick(rows, Qt.Key.Key_Escape)
        assert analysed.workflow.case.shown == frozenset()

    def test_old_hidden_maps_are_dropped(self, analysed, viewer, settle) -> None:
        for row in analysed.findings_panel.model.rows[: MAX_HEAT_LAYERS + 2]:
            analysed.workflow.show_evidence(row.name)
            settle(analysed)

        assert sum(name.startswith("evidence") for name in names(viewer)) == MAX_HEAT_LAYERS

    def test_hiding_the_layer_in_the_layer_list_unmarks_the_row(self, analysed, viewer, settle) -> None:
        name = analysed.findings_panel.model.rows[0].name
        analysed.workflow.show_evidence(name)
        settle(analysed)
        viewer.layers[f"evidence: {name}"].visible = False

        assert analysed.findings_panel.delegate.shown == frozenset()

    def test_the_map_of_an_oblique_volume_is_on_its_grid(self, viewer, oblique_volume, engine, settle, qtbot) -> None:
        ct = add_volume(viewer, oblique_volume)
        dock = dock_on(viewer, engine)
        qtbot.addWidget(dock)
        dock.workflow.show_evidence("anything")
        settle(dock)

        heat = viewer.layers["evidence: anything"]
        assert np.allclose(heat.data_to_world((1, 2, 3)), ct.data_to_world((1, 2, 3)))
        peak = np.unravel_index(np.argmax(heat.data), heat.data.shape)
        true_peak = oblique_volume.geometry.index_to_world(expected_peak(oblique_volume, "anything"))
        assert np.allclose(dock.workflow.case.source.grid.layer_to_ras(peak), true_peak)


class TestAsk:
    def test_the_row_of_a_phrase_comes_into_view(self, analysed, settle, qtbot) -> None:
        panel = analysed.findings_panel
        panel.filter.setText("effusion")
        panel.phrase.setText("calcified granuloma")
        qtbot.keyClick(panel.phrase, Qt.Key.Key_Return)
        settle(analysed)
        number = next(i for i, row in enumerate(panel.model.rows) if row.name == "calcified granuloma")
        assert len(panel.model.rows) > 10
        assert panel.list.viewport().rect().contains(panel.list.visualRect(panel.model.index(number)))

    def test_a_phrase_gets_a_row_and_its_map(self, analysed, viewer, settle, qtbot) -> None:
        qtbot.keyClicks(analysed.findings_panel.phrase, "calcified granuloma")
        qtbot.keyClick(analysed.findings_panel.phrase, Qt.Key.Key_Return)
        settle(analysed)

        row = next(row for row in analysed.findings_panel.model.rows if row.name == "calcified granuloma")
        assert row.asked
        assert "evidence: calcified granuloma" in names(viewer)

    def test_the_filter_hides_what_does_not_match(self, analysed, qtbot) -> None:
        qtbot.keyClicks(analysed.findings_panel.filter, "effusion")
        assert {row.name for row in analysed.findings_panel.model.rows} == {"Pericardial effusion", "Pleural effusion"}

        qtbot.keyClicks(analysed.findings_panel.filter, "xyz")
        assert "No finding matches" in analysed.findings_panel.note.text()


class TestStructures:
    def test_the_eye_hides_one_structure(self, analysed, viewer, qtbot) -> None:
        rows = analysed.structures_panel.list
        click(qtbot, rows, 1, x=12)

        layer = viewer.layers["structures: chest-like"]
        assert layer.get_color(2)[3] == 0
        assert layer.get_color(3)[3] == 1
        click(qtbot, rows, 1, x=12)
        assert layer.get_color(2)[3] == 1

    def test_a_click_goes_to_the_structure(self, analysed, viewer, qtbot) -> None:
        click(qtbot, analysed.structures_panel.list, 2)

        layer = viewer.layers["structures: chest-like"]
        assert layer.data[tuple(viewer.dims.current_step)] == 3

    def test_opacity_and_filling(self, analysed, viewer) -> None:
        layer = viewer.layers["structures: chest-like"]
        analysed.structures_panel.opacity.setValue(90)
        analysed.structures_panel.fill.setChecked(True)

        assert (layer.opacity, layer.contour) == (0.9, 0)


class TestTrouble:
    def test_cancel_leaves_the_dock_usable(self, dock, engine: ScriptedEngine, settle, qtbot) -> None:
        engine.gate.clear()
        dock.model_panel.analyse.click()
        qtbot.waitUntil(engine.entered.is_set)
        assert dock.model_panel.action.currentWidget() is dock.model_panel.progress
        assert not dock.structures_panel.outline.isEnabled()

        dock.model_panel.progress.cancel.click()
        settle(dock)
        assert dock.findings_panel.model.rows == ()
        assert dock.error_bar.isHidden()

        engine.gate.set()
        dock.model_panel.analyse.click()
        settle(dock)
        assert len(dock.findings_panel.model.rows) == 18

    def test_an_error_is_notified_with_its_remedy(self, dock, engine, settle, monkeypatch) -> None:
        shown = []
        monkeypatch.setattr("napari.utils.notifications.show_error", shown.append)
        engine.error = ModelUnavailableError('No model "tiny". Choose a folder instead.')
        dock.model_panel.analyse.click()
        settle(dock)

        assert shown == ['No model "tiny". Choose a folder instead.']
        assert "Choose a folder" in dock.error_bar.label.text()
        assert dock.model_panel.analyse.isEnabled()

    def test_an_error_nobody_expected_is_not_hidden(self, dock, engine, settle, qtbot) -> None:
        engine.error = ZeroDivisionError("a bug")
        with qtbot.captureExceptions() as errors:
            dock.model_panel.analyse.click()
            settle(dock)

        assert [kind for kind, *_ in errors] == [ZeroDivisionError]
        assert dock.model_panel.analyse.isEnabled()

    def test_removing_the_ct_during_a_job_drops_the_job(self, dock, viewer, engine, settle, qtbot) -> None:
        engine.gate.clear()
        dock.model_panel.analyse.click()
        qtbot.waitUntil(engine.entered.is_set)
        viewer.layers.remove("chest-like")
        settle(dock)

        assert dock.workflow.layer is None
        assert not dock.model_panel.analyse.isEnabled()
        qtbot.waitUntil(lambda: engine.sessions[0].closed)
        engine.gate.set()

    def test_removing_a_result_layer_forgets_it(self, analysed, viewer) -> None:
        viewer.layers.remove("structures: chest-like")

        assert analysed.structures_panel.model.rows == ()

    def test_each_ct_keeps_its_results(self, analysed, viewer, settle) -> None:
        other = add_volume(viewer, chest_like((20, 18, 12)))
        analysed.model_panel.layers.setCurrentIndex(analysed.model_panel.layers.findData(other))
        assert analysed.findings_panel.model.rows == ()

        analysed.workflow.choose(viewer.layers["chest-like"])
        assert len(analysed.findings_panel.model.rows) == 18


class TestView:
    @pytest.mark.parametrize(("plane", "sliced"), [("Axial", 0), ("Coronal", 1), ("Sagittal", 2)])
    def test_planes_put_the_head_up_and_never_mirror(self, dock, viewer, plane: str, sliced: int) -> None:
        dock.model_panel.planes.buttons[plane].click()

        assert viewer.dims.order[0] == sliced
        depth, vertical, horizontal = (str(part) for part in viewer.scene.camera.orientation)
        assert horizontal == "right"
        assert (depth, vertical) == (("away", "down") if plane == "Axial" else ("towards", "up"))

    def test_keys_do_what_the_buttons_do(self, dock, viewer) -> None:
        action = {str(key): action for key, action in viewer.keymap.items()}
        action["Alt+2"](viewer)
        assert tuple(viewer.layers["chest-like"].contrast_limits) == navigation.WINDOWS["Lung"]

        action["Alt+C"](viewer)
        assert dock.model_panel.planes.buttons["Coronal"].isChecked()

    def test_windows_set_the_contrast(self, dock, viewer) -> None:
        dock.model_panel.windows.buttons["Lung"].click()

        assert tuple(viewer.layers["chest-like"].contrast_limits) == navigation.WINDOWS["Lung"]

    def test_the_status_line_shows_true_ras_of_an_oblique_volume(self, viewer, oblique_volume, engine, qtbot) -> None:
        ct = add_volume(viewer, oblique_volume)
        qtbot.addWidget(dock_on(viewer, engine))
        voxel = (21, 9, 14)
        index = layer_grid(ct).ras_to_layer(oblique_volume.geometry.index_to_world(voxel))

        viewer.cursor.position = ct.data_to_world(index)
        viewer.status = "napari's own"

        right, anterior, superior = oblique_volume.geometry.index_to_world(voxel)
        assert viewer.status.startswith(f"R {right:.1f}  A {anterior:.1f}  S {superior:.1f} mm")
        assert viewer.status.endswith(f"{oblique_volume.voxels[voxel]} HU")

    def test_both_themes_give_readable_text(self, dock, viewer) -> None:
        for theme in ("dark", "light"):
            viewer.theme = theme
            colors = dock.findings_panel.delegate.colors
            assert abs(colors.text.lightness() - colors.surface.lightness()) > 100

    def test_it_fits_380_pixels(self, analysed) -> None:
        assert analysed.minimumSizeHint().width() <= 380

    def test_the_geometry_is_described(self, dock, volume: Volume) -> None:
        assert VolumeGeometry(shape=volume.shape, affine=volume.affine).orientation == "LPS"
        assert dock.model_panel.geometry_note.text().endswith("LPS")
