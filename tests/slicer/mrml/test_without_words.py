"""A model that reads no words, such as one of structures alone."""

from __future__ import annotations

import pytest
from scripted import Bench

from colipri_core.engine import Capabilities
from colipri_core.vocabulary.structures import STRUCTURES
from ColipriLib import presenter


@pytest.mark.parametrize("structures", [STRUCTURES[:1], ()])
def test_analyse_does_what_the_model_can(bench: Bench, structures: tuple[object, ...]) -> None:
    bench.engine.capabilities = Capabilities(findings=(), free_text=False, structures=structures)  # type: ignore[arg-type]
    bench.logic.analysis.analyse()
    bench.finish()

    view = bench.logic.view()
    assert view.model.problem == ""
    assert (len(view.structures.rows), view.findings.rows) == (len(structures), ())
    assert view.findings.note == presenter.NO_NAMES
