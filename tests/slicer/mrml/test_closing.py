"""Edits and saves that wait for their turn when the scene or the module is closed: done at once, or said."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scripted import Bench

from colipri_core.io import read_labelmap
from ColipriLib import desk
from ColipriLib.module_logic import ModuleLogic


def close_scene(logic: ModuleLogic) -> None:
    logic.forget()
    logic.desk.scene.Clear(0)


@pytest.mark.parametrize("close", [close_scene, ModuleLogic.close])
def test_what_waits_behind_an_analysis_is_done(
    bench: Bench, tmp_path: Path, close: Callable[[ModuleLogic], None]
) -> None:
    bench.click(6, 10, 8)
    bench.finish()
    with bench.running(bench.logic.analysis.analyse):
        bench.paint(np.s_[0:3, 0:3, 0:3], 1)
        bench.labelling.rename_object("Lungs")
        bench.labelling.export(tmp_path / "labels.nii.gz")
        began = time.monotonic()
        close(bench.logic)
        assert time.monotonic() - began < desk.CLOSING_S

    assert np.count_nonzero(read_labelmap(tmp_path / "labels.nii.gz").labelmap) == 5**3 + 27
    assert [step.action for step in bench.engine.sessions[0].editor.steps] == ["point", "paint", "rename"]
    assert bench.logic.desk.problem == ""


@pytest.mark.parametrize("close", [close_scene, ModuleLogic.close])
def test_a_server_that_does_not_let_go_keeps_nothing_open(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    close: Callable[[ModuleLogic], None],
) -> None:
    monkeypatch.setattr(desk, "CLOSING_S", 0.1)
    monkeypatch.setattr(bench.engine, "hold", lambda cancel: (bench.engine.entered.set(), bench.engine.gate.wait(20)))
    with bench.running(bench.logic.analysis.analyse):
        bench.labelling.export(tmp_path / "labels.nii.gz")
        began = time.monotonic()
        close(bench.logic)
        assert time.monotonic() - began < 2.0
        assert "Closed before this was done: Saving labels.nii.gz" in caplog.text
        assert "Saving labels.nii.gz" in bench.logic.desk.problem
