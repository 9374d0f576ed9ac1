"""Overlap on a real chest CT, and a folder that holds none."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_bundles import save_random_bundle

from colipri_core import open_engine
from colipri_training.evaluation import real_structures
from colipri_training.evaluation.bench import RunOptions
from colipri_training.evaluation.errors import NoCasesError
from colipri_training.evaluation.evaluate import EvaluationOptions
from colipri_training.evaluation.evaluate import evaluate


def test_the_lungs_of_a_real_chest(shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = next(case for case in real_structures.REAL_CASES if case.image.startswith("cip/"))
    monkeypatch.setattr(real_structures, "REAL_CASES", (case,))
    with open_engine("tiny", device="cpu", cache_dir=tmp_path) as engine:
        rows = list(real_structures.evaluate(engine, shared_data))

    assert [row["structure"] for row in rows] == ["Lungs"]
    assert rows[0]["dice"] > 0.9
    assert 0.5 < rows[0]["nsd"] <= 1


def test_a_folder_without_them_is_refused_before_anything_runs(tmp_path: Path) -> None:
    options = EvaluationOptions(models=("no such model",), run=RunOptions(output=tmp_path / "out"), real=tmp_path)
    with pytest.raises(NoCasesError, match="Expected real volumes with masks"):
        evaluate([], options)
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_structure_head_says_so(shared_data: Path, tmp_path: Path) -> None:
    bundle = save_random_bundle(tmp_path / "blind", structures=False)
    options = EvaluationOptions(
        models=(str(bundle),), run=RunOptions(output=tmp_path / "out"), device="cpu", real=shared_data
    )
    found = evaluate([], options)

    assert found["models"][0]["real"] == {"not_done": "The bundle has no structure head."}
    assert "The bundle has no structure head." in (tmp_path / "out" / "evaluation.html").read_text()
