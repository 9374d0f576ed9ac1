"""Validation during training: figures that are right, the same on two processes, for phantoms and prepared volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prepared_sets import VALIDATION
from prepared_sets import prepare_for_smoke

from colipri_core.model.colipri import ColipriModel
from colipri_training.data.examples import PhantomExamples
from colipri_training.data.examples import PreparedExamples
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.recipes.registry import RECIPES
from colipri_training.run import Run
from colipri_training.validation import Rows
from colipri_training.validation import Validation
from colipri_training.validation import classification
from colipri_training.validation import retrieval


def rows(scores: np.ndarray, labels: np.ndarray, hits: np.ndarray | None = None) -> Rows:
    nothing = np.zeros((len(scores), 2), dtype=np.float32)
    hits = np.full_like(scores, np.nan) if hits is None else hits
    return Rows(images=nothing, reports=nothing, scores=scores, labels=labels, hits=hits)


class TestRetrieval:
    def test_recall_counts_the_queries_whose_answer_is_among_the_best(self) -> None:
        similarity = np.array([[3, 2, 1, 0], [3, 2, 1, 0], [3, 2, 1, 0], [3, 2, 1, 0]], dtype=np.float32)
        figures = retrieval(similarity, ["a", "b", "c", "d"])
        assert figures["retrieval/pool"] == 4
        assert figures["retrieval/image_to_report_r1"] == 0.25
        assert "retrieval/image_to_report_r5" not in figures
        assert figures["retrieval/report_to_image_r1"] == 0  # every volume ties, which counts against the model

    def test_all_of_six_are_found_among_five_but_the_last(self) -> None:
        similarity = np.tile(np.arange(6, 0, -1, dtype=np.float32), (6, 1))
        figures = retrieval(similarity, list("abcdef"))
        assert figures["retrieval/image_to_report_r5"] == pytest.approx(5 / 6)

    def test_volumes_with_the_same_report_answer_for_one_another(self) -> None:
        similarity = np.array([[0.1, 0.9, 0.5], [0.8, 0.1, 0.5], [0.0, 0.1, 0.2]], dtype=np.float32)
        figures = retrieval(similarity, ["normal", "normal", "nodule"])
        assert figures["retrieval/image_to_report_r1"] == 1.0


class TestClassification:
    def test_unknown_labels_count_for_nothing(self) -> None:
        labels = np.full((5, 18), -1, dtype=np.float32)
        labels[:, 3] = [1, 1, 0, 0, -1]
        labels[:, 4] = [1, 1, 1, 1, 1]
        scores = np.zeros((5, 18), dtype=np.float32)
        scores[:, 3] = [0.9, 0.1, 0.5, 0.0, 2.0]
        figures = classification(rows(scores, labels))
        assert figures == {"auroc/Pericardial effusion": 0.75, "validation_macro_auroc": 0.75}

    def test_the_pointing_game_is_over_focal_findings_alone(self) -> None:
        hits = np.full((2, 18), np.nan, dtype=np.float32)
        hits[0, 9], hits[1, 9] = 1, 0
        hits[0, 2] = 1
        figures = classification(rows(np.zeros((2, 18)), np.zeros((2, 18)), hits))
        assert figures["validation_pointing"] in (0.5, pytest.approx(2 / 3))

    def test_a_set_without_labels_has_no_auroc(self) -> None:
        assert classification(rows(np.zeros((2, 18)), np.full((2, 18), -1.0))) == {}


class TestExamples:
    def test_prepared_volumes_are_chosen_the_same_way_every_time(self, tmp_path: Path) -> None:
        prepared = PreparedVolumes(prepare_for_smoke(tmp_path))
        spec = RECIPES["smoke"](vocab_size=1).preprocessing
        everything = PreparedExamples([prepared], spec, most=100)
        few = PreparedExamples([prepared], spec, most=2)
        assert (len(everything), len(few)) == (VALIDATION, 2)
        assert everything.reports()[:2] == few.reports()
        assert all("Impression" not in (report or "") for report in few.reports())
        assert sorted(few[1].labels.tolist()) == [-1] * 16 + [0, 1]
        assert few[0].image.shape == (48, 48, 48)
        assert len(PreparedExamples([], spec, most=2)) == 0

    def test_phantoms_know_all_labels(self, run_folder: Path) -> None:
        run = Run("smoke", run_folder)
        examples = PhantomExamples(run.store, [0, 1], run.config.preprocessing)
        case = run.store.read(1)
        assert np.flatnonzero(examples[1].labels == 1).tolist() == sorted(case.present)
        assert examples.reports()[1] == case.report
        assert -1 <= examples[1].image.min() < examples[1].image.max() <= 1


def measure(run: Run, folder: Path) -> None:
    torch.manual_seed(0)
    model = ColipriModel(run.config.model).eval()
    examples = PhantomExamples(run.store, [0, 1, 2], run.config.preprocessing)
    figures = Validation(examples, run.tokenize, max_report_length=192)(model)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    (folder / f"{rank}.json").write_text(json.dumps(figures))


@pytest.mark.slow
def test_two_processes_find_what_one_finds(run_folder: Path, tmp_path: Path, in_processes: Any) -> None:
    """Three volumes on two processes: the last share is filled up, and that must not count."""
    run = Run("smoke", run_folder)
    measure(run, tmp_path)
    one = json.loads((tmp_path / "0.json").read_text())
    in_processes(lambda: measure(run, tmp_path), 2)
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize("bf16", [False, True])
def test_figures_of_phantoms(run_folder: Path, bf16: bool) -> None:
    run = Run("smoke", run_folder)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        figures = run._validation()(ColipriModel(run.config.model).eval())
    assert {"validation_volumes", "validation_pointing", "retrieval/pool", "retrieval/report_to_image_r1"} <= set(
        figures
    )
    assert all(0 <= value <= 2 for value in figures.values())
