"""Two CTs in one viewer: each keeps its own results, and work on one leaves the other alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from napari.layers import Image
from scenes import add_volume
from scenes import chest_like

from napari_colipri.dock import ColipriDock
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
