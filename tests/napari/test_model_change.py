"""Another model, or another place of the CT, after work began: who answers then, and what becomes of the results."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from scenes import add_volume
from scenes import chest_like
from scripted_engine import CARD
from scripted_engine import ScriptedEngine

from colipri_core.errors import ModelUnavailableError
from colipri_core.io import read_labelmap
from colipri_core.prompts import Point
from napari_colipri.backend import Backend
from napari_colipri.dock import ColipriDock

PHRASE = "Lung nodule"


class Shop:
    """Opens a scripted engine for each name and writes down who was opened and who answered."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.answered: list[str] = []
        self.engines: list[ScriptedEngine] = []

    def __call__(self, model: str, **_options: object) -> ScriptedEngine:
        if model == "missing":
            msg = "No such model. Choose another."
            raise ModelUnavailableError(msg)
        engine = ScriptedEngine()
        engine.card = dataclasses.replace(CARD, name=model, sha256=model.encode().hex().ljust(64, "0"))
        walk = engine.walk

        def tell(*args: object) -> None:
            self.answered.append(model)
            walk(*args)

        engine.walk = tell
        self.opened.append(model)
        self.engines.append(engine)
        return engine

    @property
    def sessions(self) -> int:
        return sum(len(engine.sessions) for engine in self.engines)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def changing(shop: Shop, viewer: ViewerModel, qtbot) -> ColipriDock:
    add_volume(viewer, chest_like())
    dock = ColipriDock(viewer, backend=Backend(shop))
    qtbot.addWidget(dock)
    yield dock
    dock.shutdown()


def point(dock: ColipriDock, index: tuple[int, int, int]) -> Point:
    return Point(ras=tuple(map(float, dock.labelling.sheet.case.source.grid.layer_to_ras(index))))


class TestAnotherModel:
    def choose(self, dock: ColipriDock, model: str) -> None:
        dock.model_panel.models.setEditText(model)

    @pytest.mark.parametrize("question", ["ask", "evidence", "outline", "draft", "prompt", "phrase"])
    def test_it_answers_what_is_asked_from_then_on(self, changing, shop, settle, question: str) -> None:
        dock = changing
        dock.workflow.analyse()
        settle(dock)
        dock.labelling.begin()
        settle(dock)
        self.choose(dock, "new")
        shop.answered.clear()
        ask = {
            "ask": lambda: dock.workflow.ask("calcified granuloma"),
            "evidence": lambda: dock.workflow.show_evidence(PHRASE),
            "outline": dock.workflow.outline,
            "draft": dock.report.reporting.draft,
            "prompt": lambda: dock.labelling.prompt(point(dock, (12, 18, 12))),
            "phrase": lambda: dock.labelling.ask_phrase("Pleural effusion"),
        }[question]
        ask()
        settle(dock)

        assert set(shop.answered) == {"new"}
        assert dock.footer.model.text().startswith("new")

    def test_models_take_no_turns(self, changing, shop, settle) -> None:
        dock = changing
        dock.labelling.begin()
        settle(dock)
        dock.labelling.prompt(point(dock, (12, 18, 12)))
        settle(dock)
        self.choose(dock, "new")
        for _ in range(2):
            dock.workflow.show_evidence(PHRASE)
            settle(dock)
            dock.labelling.prompt(point(dock, (12, 18, 28)))
            settle(dock)

        assert shop.opened == ["tiny", "new"]

    def test_labels_and_their_history_survive_it(self, changing, settle) -> None:
        dock = changing
        dock.labelling.begin()
        settle(dock)
        dock.labelling.prompt(point(dock, (12, 18, 12)))
        settle(dock)
        sheet, before = dock.labelling.sheet, dock.labelling.sheet.labels.data.copy()
        self.choose(dock, "new")
        dock.workflow.analyse()
        settle(dock)
        sheet.labels.paint((3, 5, 5), 1)
        settle(dock)
        assert dock.labelling.sheet is sheet
        assert dock.labelling.state.undo == ("paint", "point")
        dock.labelling.press("undo")
        settle(dock)
        np.testing.assert_array_equal(sheet.labels.data, before)

    def test_strokes_and_saving_need_no_model_that_can_be_loaded(self, changing, settle, tmp_path: Path) -> None:
        dock = changing
        dock.labelling.begin()
        settle(dock)
        self.choose(dock, "missing")
        dock.labelling.prompt(point(dock, (12, 18, 12)))
        settle(dock)
        assert "No such model" in dock.error_bar.label.text()
        dock.labelling.sheet.labels.paint((3, 5, 5), 1)
        settle(dock)
        dock.labelling.export(tmp_path / "labels.nii.gz")
        settle(dock)

        assert read_labelmap(tmp_path / "labels.nii.gz").labelmap.any()

    def test_findings_and_structures_say_whose_they_are(self, changing, settle) -> None:
        dock = changing
        dock.workflow.analyse()
        settle(dock)
        assert dock.findings_section.summary.text() == "18 findings, tiny"
        self.choose(dock, "new")
        dock.workflow.ask("calcified granuloma")
        settle(dock)

        assert dock.findings_section.summary.text() == "1 findings, new"
        assert dock.structures_section.summary.text() == "3 structures, tiny"

    def test_maps_of_two_models_are_not_shown_together(self, changing, viewer, settle) -> None:
        dock = changing
        for model, phrase in (("tiny", "Emphysema"), ("new", PHRASE)):
            self.choose(dock, model)
            dock.workflow.show_evidence(phrase, keep_others=True)
            settle(dock)
        assert dock.workflow.case.shown == {PHRASE}

    def test_analysing_again_opens_nothing_again(self, changing, shop, settle) -> None:
        dock = changing
        dock.workflow.analyse()
        settle(dock)
        dock.labelling.begin()
        settle(dock)
        dock.labelling.prompt(point(dock, (12, 18, 12)))
        settle(dock)
        dock.workflow.analyse()
        settle(dock)
        dock.labelling.prompt(point(dock, (12, 18, 28)))
        settle(dock)
        assert shop.sessions == 1


class TestAnotherPlace:
    @pytest.fixture
    def labelled(self, changing, settle) -> ColipriDock:
        """A CT with findings, structures, a map and labels."""
        changing.workflow.analyse()
        settle(changing)
        changing.workflow.show_evidence(PHRASE)
        settle(changing)
        changing.labelling.begin()
        settle(changing)
        changing.labelling.prompt(point(changing, (12, 18, 12)))
        settle(changing)
        return changing

    @pytest.mark.parametrize("attribute", ["scale", "translate", "affine", "data"])
    def test_what_belongs_to_the_scan_as_it_was_is_closed_and_said(
        self, labelled, viewer, monkeypatch, attribute: str
    ) -> None:
        said = []
        labelled.workflow.noticed.connect(said.append)
        ct = viewer.layers["chest-like"]
        new = {"scale": (5, 4, 4), "translate": (1, 2, 3), "affine": np.diag([2.0, 1, 1, 1]), "data": ct.data + 1000}
        setattr(ct, attribute, new[attribute])

        assert [layer.name for layer in viewer.layers] == ["chest-like"]
        assert labelled.workflow.case is None
        assert labelled.labelling.sheet is None
        assert labelled.findings_panel.model.rows == ()
        assert len(said) == 1
        assert '"chest-like" lies elsewhere now' in said[0]

    def test_what_is_asked_then_is_asked_of_the_scan_as_it_is(self, labelled, viewer, settle, tmp_path) -> None:
        ct = viewer.layers["chest-like"]
        ct.scale = (5, 4, 4)
        assert "4 \u00d7 4 \u00d7 5 mm" in labelled.model_panel.geometry_note.text()
        labelled.workflow.show_evidence(PHRASE)
        settle(labelled)
        assert tuple(viewer.layers[f"evidence: {PHRASE}"].scale) == (5, 4, 4)
        labelled.labelling.begin()
        settle(labelled)
        labelled.labelling.prompt(point(labelled, (12, 18, 12)))
        settle(labelled)
        labelled.labelling.export(tmp_path / "labels.nii.gz")
        settle(labelled)
        assert read_labelmap(tmp_path / "labels.nii.gz").geometry.spacing == pytest.approx((4, 4, 5))

    def test_labels_come_back_when_the_scan_is_as_it_was(self, labelled, viewer, settle) -> None:
        ct, before = viewer.layers["chest-like"], labelled.labelling.sheet.labels.data.copy()
        scale, translate = ct.scale.copy(), ct.translate.copy()
        ct.scale = (5, 4, 4)
        ct.scale, ct.translate = scale, translate
        labelled.labelling.begin()
        settle(labelled)
        np.testing.assert_array_equal(labelled.labelling.sheet.labels.data, before)

    def test_the_window_and_the_name_change_nothing(self, labelled, viewer) -> None:
        ct = viewer.layers["chest-like"]
        ct.name, ct.contrast_limits, ct.scale = "renamed", (0, 100), ct.scale
        assert labelled.workflow.case is not None
        assert len(viewer.layers) == 5
