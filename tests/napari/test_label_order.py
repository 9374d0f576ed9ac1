"""Labelling while other work runs: nothing is lost, and what was asked for one scan or object goes to no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_engine import ScriptedEngine

from colipri_core.editing.editor import LabelEditor
from colipri_core.io import read_labelmap
from colipri_core.volume import Volume
from napari_colipri.dock import ColipriDock


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
