"""Report scores against the libraries and by hand, and the baselines that every written report stands beside."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_sets import make_features
from sacrebleu.metrics import BLEU

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.evaluation import reports
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.errors import NotApplicableError
from colipri_training.evaluation.features import Features
from colipri_training.evaluation.report_scores import clinical_scores
from colipri_training.evaluation.report_scores import describe
from colipri_training.evaluation.report_scores import meteor_without_synonyms
from colipri_training.evaluation.report_scores import overlap_scores

TRUE = ["There is a small pleural effusion.", "No pleural effusion. Emphysema in both lungs."]
WRITTEN = ["There is a pleural effusion.", "Emphysema in both upper lobes."]
COUNTS = resample_patients(["a", "b"], resamples=20)


def table(*present: tuple[int, ...]) -> np.ndarray:
    """(N, 18) findings by index."""
    return np.array([np.isin(np.arange(len(CT_RATE_FINDINGS)), found) for found in present])


class TestScores:
    def test_bleu_is_sacrebleus(self) -> None:
        found = overlap_scores(WRITTEN, TRUE, COUNTS)
        expected = BLEU(lowercase=True).corpus_score(WRITTEN, [TRUE]).score / 100

        assert found["bleu_4"] == pytest.approx(expected, abs=1e-5)
        assert found["bleu_1"] > found["bleu_4"] > 0

    def test_rouge_l_by_hand(self) -> None:
        # 5 of 5 written and of 6 true words: P = 1, R = 5/6.
        found = overlap_scores(WRITTEN[:1], TRUE[:1], resample_patients(["a"], resamples=5))
        assert found["rouge_l"]["value"] == pytest.approx(2 * (5 / 6) / (1 + 5 / 6), abs=1e-5)

    def test_meteor_by_hand(self) -> None:
        # All 3 words match in one chunk: F = 1, penalty 0.5 (1/3)^3. "nodules" matches "nodule" by its stem.
        assert meteor_without_synonyms("small lung nodules", "small lung nodule") == pytest.approx(1 - 0.5 / 27)
        # 2 of 3 written, 2 of 4 true words match, in 2 chunks: F = P R / (0.9 P + 0.1 R), penalty 0.5.
        expected = 0.5 * (2 / 3 * 2 / 4) / (0.9 * 2 / 3 + 0.1 * 2 / 4)
        assert meteor_without_synonyms("small new nodule", "small in lung nodule") == pytest.approx(expected)

    def test_an_empty_report_scores_nothing(self) -> None:
        found = describe(["", ""], TRUE, COUNTS)
        assert found["bleu_1"] == found["rouge_l"]["value"] == found["meteor"]["value"] == 0.0
        assert found["clinical"]["micro_f1"]["value"] == 0.0
        assert found["distinct"] == 0.5

    def test_the_true_report_scores_all(self) -> None:
        found = describe(TRUE, TRUE, COUNTS)
        assert found["bleu_4"] == found["rouge_l"]["value"] == found["clinical"]["micro_f1"]["value"] == 1.0


class TestClinicalScores:
    def test_by_hand(self) -> None:
        found = clinical_scores(table((0, 1), (1,), ()), table((0,), (1, 2), ()), resample_patients("abc", resamples=9))

        # Findings: 0 is in both once; 1 once rightly and once more; 2 is missed.
        by_name = {row["name"]: row["f1"]["value"] for row in found["findings"]}
        assert [by_name[name] for name in CT_RATE_FINDINGS[:4]] == [1.0, pytest.approx(2 / 3, abs=1e-5), 0.0, None]
        assert found["macro_f1"]["value"] == pytest.approx((1 + 2 / 3 + 0) / 3, abs=1e-5)
        assert found["micro_f1"]["value"] == pytest.approx(2 * 2 / (3 + 3), abs=1e-5)
        assert found["micro_precision"]["value"] == pytest.approx(2 / 3, abs=1e-5)
        assert found["macro_findings"] == 3

    def test_denied_findings_are_not_found(self) -> None:
        found = describe(
            ["No pleural effusion."], ["There is a pleural effusion."], resample_patients("a", resamples=5)
        )
        assert found["clinical"]["micro_recall"]["value"] == 0.0

    def test_references_without_any_finding_have_no_macro_figure(self) -> None:
        found = clinical_scores(table((0,), ()), table((), ()), COUNTS)
        assert found["macro_f1"]["value"] is None
        assert found["micro_recall"]["value"] is None

    def test_another_labeller_takes_the_place_of_the_shipped_one(self) -> None:
        found = describe(WRITTEN, TRUE, COUNTS, labeller=lambda text: [len(text) > 0] * 18)
        assert found["clinical"]["macro_f1"]["value"] == 1.0


class TestBaselines:
    @pytest.fixture
    def sets(self, tmp_path: Path) -> tuple[Features, Features]:
        """Two training cases at right angles, and two cases under test, each near one of them."""
        tokens = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        train = make_features(tmp_path / "a", tokens, np.zeros((2, 1)))
        test = make_features(tmp_path / "b", tokens.flip(0) + 0.1, np.zeros((2, 1)), split="test")
        return train, test

    def test_the_nearest_report_is_the_most_similar_training_cases(self, sets: tuple[Features, Features]) -> None:
        train, test = sets
        cases = tuple(
            dataclasses.replace(case, report=report)
            for case, report in zip(train.cases, ["Report 1.", "Report 0."], strict=True)
        )
        found = reports.evaluate(dataclasses.replace(train, cases=cases), test, resamples=5)

        # Case 0 under test lies near training case 1, which was given the report of case 0.
        assert found["nearest"]["rouge_l"]["value"] == 1.0
        assert found["most_frequent"]["distinct"] == 0.5

    def test_without_a_decoder_it_says_so(self, sets: tuple[Features, Features]) -> None:
        found = reports.evaluate(*sets, resamples=5)
        assert "no report decoder" in found["generated"]["not_done"]

    def test_without_training_reports_there_is_no_baseline(self, sets: tuple[Features, Features]) -> None:
        found = reports.evaluate(None, sets[1], resamples=5)
        assert "none to retrieve" in found["nearest"]["not_done"]

    def test_without_true_reports_nothing_can_be_scored(self, sets: tuple[Features, Features]) -> None:
        train, test = sets
        silent = dataclasses.replace(test, cases=tuple(dataclasses.replace(case, report=None) for case in test.cases))
        with pytest.raises(NotApplicableError, match="No case under test has a report"):
            reports.evaluate(train, silent, resamples=5)
