"""What a model cannot do is not offered, and what answers prompts can be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenes import add_volume

from napari_colipri.backend import Backend
from napari_colipri.backend import ModelChoice
from napari_colipri.dock import ColipriDock
from napari_colipri.panels.clicks_model import LICENCE_NOTE


def test_a_model_of_structures_alone_outlines_and_offers_no_words(dock, engine, settle) -> None:
    engine.reads_words = False
    dock.model_panel.analyse.click()
    settle(dock)
    assert len(dock.structures_panel.model.rows) == 3
    assert dock.findings_section.isHidden()
    assert dock.report.section.isHidden()
    assert dock.similar.section.isHidden()
    assert dock.label_panel.phrase.isHidden()
    assert not dock.structures_section.isHidden()
    dock.model_panel.set_choice("another", "auto")
    assert not dock.findings_section.isHidden()
    assert not dock.label_panel.phrase.isHidden()


def test_choosing_what_answers_prompts_opens_the_engine_anew(viewer, engine, volume, qtbot, settle) -> None:
    asked: list[str] = []

    def opener(model: str, *, clicks_model: str, **_options: object):
        asked.append(clicks_model)
        return engine

    add_volume(viewer, volume)
    dock = ColipriDock(viewer, backend=Backend(opener))
    qtbot.addWidget(dock)
    for choice in (None, "/bundles/mine", "/bundles/mine"):
        if choice is not None:
            dock.model_panel.clicks.set_choice(choice)
        dock.model_panel.analyse.click()
        settle(dock)
    assert asked == ["clicks", "/bundles/mine"]
    assert dock.workflow.choice == ModelChoice()


@pytest.mark.parametrize(("choice", "shown"), [("nninteractive", True), ("nninteractive:/x", True), ("clicks", False)])
def test_the_licence_of_nninteractive_is_said_where_it_is_chosen(dock, choice: str, shown: bool) -> None:
    row = dock.model_panel.clicks
    row.set_choice(choice)
    assert row.note.isHidden() is not shown
    assert row.note.text() == LICENCE_NOTE
    assert "not for commercial use" in LICENCE_NOTE


def test_a_folder_is_chosen_by_dialog(dock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dialog = "napari_colipri.panels.clicks_model.QFileDialog.getExistingDirectory"
    monkeypatch.setattr(dialog, lambda *_args: str(tmp_path))
    dock.model_panel.clicks.folder.click()
    assert dock.workflow.backend.clicks_model == str(tmp_path)
