"""Two CTs in one viewer: each keeps its own results, and work on one leaves the other alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from drafts import AFFIRMED
from napari.layers import Image
from scenes import add_volume
from scenes import chest_like

from napari_colipri.dock import ColipriDock
from napari_colipri.reporting import AGAIN
from napari_colipri.source import layer_source

PHRASE = "Lung nodule"
ELSEWHERE = np.array([[-4.0, 0, 0, 100], [0, -4, 0, 50], [0, 0, 5, 300], [0, 0, 0, 1]])


@pytest.fixture
def first(dock: ColipriDock) -> Image:
    return dock.viewer.layers["chest-like"]


@pytest.fixture
def second(dock: ColipriDock) -> Image:
    """A CT of another shape in another place."""
    volume = dataclasses.replace(chest_like((30, 34, 20), ELSEWHERE), name="other")
    return add_volume(dock.viewer, volume)


def lies_on(layer: Image, ct: Image) -> bool:
    same_place = np.allclose(layer.data_to_world((1, 2, 3)), ct.data_to_world((1, 2, 3)))
    return layer.data.shape == ct.data.shape and same_place and layer_source(layer).name == layer_source(ct).name


class TestResults:
    def test_each_ct_has_its_own_map_of_a_phrase(self, dock, first, second, settle) -> None:
        for ct in (first, second, first):
            dock.workflow.choose(ct)
            dock.workflow.show_evidence(PHRASE)
            settle(dock)

        maps = {layer.name: layer for layer in dock.viewer.layers if layer.name.startswith("evidence")}
        assert set(maps) == {f"evidence: {PHRASE} in chest-like", f"evidence: {PHRASE} in other"}
        assert lies_on(maps[f"evidence: {PHRASE} in chest-like"], first)
        assert lies_on(maps[f"evidence: {PHRASE} in other"], second)

    def test_a_new_scan_of_the_same_name_gets_layers_of_its_own(self, dock, first, settle) -> None:
        dock.workflow.outline()
        settle(dock)
        dock.workflow.show_evidence(PHRASE)
        settle(dock)
        dock.viewer.layers.remove(first)
        volume = dataclasses.replace(chest_like((30, 34, 20), ELSEWHERE), name="chest-like")
        ct = add_volume(dock.viewer, volume)
        dock.workflow.outline()
        settle(dock)
        dock.workflow.show_evidence(PHRASE)
        settle(dock)

        assert lies_on(dock.workflow.case.labels, ct)
        assert lies_on(dock.workflow.case.heat[PHRASE], ct)

    def test_renamed_layers_are_found_again(self, dock, first, settle) -> None:
        for _ in range(2):
            dock.workflow.outline()
            settle(dock)
            dock.workflow.show_evidence(PHRASE)
            settle(dock)
            for layer in dock.viewer.layers:
                layer.name = f"my {layer.name}"

        assert len(dock.viewer.layers) == 3
        assert dock.model_panel.layers.currentText() == "my my chest-like"

    def test_filling_and_opacity_hold_for_each(self, dock, first, second, settle) -> None:
        dock.workflow.choose(first)
        dock.workflow.outline()
        settle(dock)
        dock.structures_panel.fill.setChecked(True)
        dock.structures_panel.opacity.setValue(100)
        dock.workflow.choose(second)
        dock.workflow.outline()
        settle(dock)
        labels = dock.workflow.case.labels
        assert (labels.contour, labels.opacity) == (0, 1.0)

        dock.structures_panel.fill.setChecked(False)
        dock.workflow.choose(first)
        assert dock.workflow.case.labels.contour > 0


class TestSwitchingDuringWork:
    @pytest.fixture
    def held(self, dock, engine, qtbot) -> Callable[[Callable[[], object]], None]:
        """Starts work, which then waits for the engine's gate."""

        def start(work: Callable[[], object]) -> None:
            engine.gate.clear()
            engine.entered.clear()
            work()
            qtbot.waitUntil(engine.entered.is_set)

        return start

    def test_the_ct_that_was_analysed_gets_the_draft(self, dock, engine, first, second, held, settle) -> None:
        dock.workflow.choose(first)
        held(dock.workflow.analyse)
        dock.workflow.choose(second)
        engine.gate.set()
        settle(dock)

        assert dock.report.panel.model.rows == ()
        assert dock.findings_panel.model.rows == ()
        dock.workflow.choose(first)
        assert len(dock.report.panel.model.rows) > 4

    def test_a_draft_streams_in_under_its_own_ct_alone(self, dock, engine, first, second, held, settle, qtbot) -> None:
        dock.workflow.choose(first)
        held(dock.report.reporting.draft)
        qtbot.waitUntil(lambda: len(dock.report.panel.model.rows) == 1)
        dock.workflow.choose(second)
        assert dock.report.panel.model.rows == ()
        assert not dock.report.panel.draft.isEnabled()
        dock.workflow.choose(first)
        assert [row.text for row in dock.report.panel.model.rows] == [AFFIRMED.text]
        assert dock.report.panel.draft.text() == "Cancel"
        engine.gate.set()
        settle(dock)

    def test_removing_another_ct_leaves_the_work_alone(self, dock, engine, first, second, held, settle) -> None:
        dock.workflow.choose(second)
        dock.workflow.analyse()
        settle(dock)
        dock.workflow.choose(first)
        held(dock.workflow.analyse)
        dock.viewer.layers.remove(second)
        engine.gate.set()
        settle(dock)

        assert dock.workflow.layer == first
        assert len(dock.findings_panel.model.rows) == 18

    def test_removing_the_ct_of_the_work_ends_it(self, dock, engine, first, second, held, settle, qtbot) -> None:
        dock.workflow.choose(first)
        held(dock.workflow.analyse)
        dock.workflow.choose(second)
        dock.viewer.layers.remove(first)
        settle(dock)  # the gate is still closed

        qtbot.waitUntil(lambda: engine.sessions[0].closed)
        engine.gate.set()
        assert dock.workflow.layer == second

    def test_a_map_that_comes_late_neither_moves_nor_covers_the_other_ct(
        self, dock, engine, viewer, first, second, held, settle
    ) -> None:
        dock.workflow.choose(first)
        held(lambda: dock.workflow.show_evidence(PHRASE))
        dock.workflow.choose(second)
        viewer.dims.set_point(0, 20.0)
        before = viewer.dims.point
        engine.gate.set()
        settle(dock)

        assert viewer.dims.point == before
        assert not any(layer.visible for layer in viewer.layers if layer.name.startswith("evidence"))
        dock.workflow.choose(first)
        dock.workflow.show_evidence(PHRASE)
        settle(dock)
        assert dock.workflow.case.shown == {PHRASE}


class TestEditedDrafts:
    def test_asking_on_one_ct_is_no_leave_to_replace_the_draft_of_another(self, dock, first, second, settle) -> None:
        reporting = dock.report.reporting
        for ct in (second, first):
            dock.workflow.choose(ct)
            reporting.draft()
            settle(dock)
            reporting.add(f"Mine of {ct.name}.")
        assert not reporting.draft()
        assert AGAIN in dock.report.panel.note.text()

        dock.workflow.choose(second)
        assert AGAIN not in dock.report.panel.note.text()
        assert not reporting.draft()
        assert "Mine of other." in [row.text for row in reporting.rows]
        assert reporting.draft()
        settle(dock)
        assert "Mine of other." not in [row.text for row in reporting.rows]
