"""The dock with the real engine and a small bundle of random weights: what is shown is what the engine answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from random_bundles import save_random_bundle
from scenes import OBLIQUE
from scenes import add_volume
from scenes import chest_like

import colipri_core as cc
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from napari_colipri.dock import ColipriDock

TIMEOUT_MS = 60_000


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "random"
    save_random_bundle(folder)
    return folder


@pytest.mark.parametrize("affine", [None, OBLIQUE], ids=["axis-aligned", "oblique"])
def test_the_dock_shows_what_the_engine_answers(bundle: Path, affine: np.ndarray | None, qtbot) -> None:
    volume, viewer = chest_like(affine=affine), ViewerModel()
    ct = add_volume(viewer, volume)
    dock = ColipriDock(viewer)
    qtbot.addWidget(dock)
    dock.model_panel.set_choice(str(bundle), "cpu")
    dock.model_panel.analyse.click()
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=TIMEOUT_MS)
    assert dock.error_bar.label.text() == ""
    dock.findings_panel.chosen.emit("Lung nodule")
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=TIMEOUT_MS)

    with cc.open_engine(bundle, device="cpu") as engine, engine.open(volume) as session:
        findings, evidence, segmentation = session.classify(), session.evidence("Lung nodule"), session.segment()

    rows = dock.findings_panel.model.rows
    assert {row.name for row in rows} == set(CT_RATE_FINDINGS)
    assert [row.probability for row in rows] == pytest.approx(
        [item.probability for item in findings.sorted()], abs=1e-4
    )
    grid = dock.workflow.case.source.grid
    shown = grid.to_volume(viewer.layers["evidence: Lung nodule"].data)
    seen = np.isfinite(evidence.values)
    assert np.allclose(shown[seen], evidence.values[seen], atol=1e-3)
    assert np.array_equal(grid.to_volume(viewer.layers["structures: chest-like"].data), segmentation.labelmap)
    peak = ct.world_to_data(viewer.dims.point)
    assert np.abs(grid.layer_to_ras(peak) - evidence.peak_ras).max() <= max(volume.spacing) * 0.87
    assert "None, the weights are random" in dock.footer.model.text()
    dock.shutdown()
