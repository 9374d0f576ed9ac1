"""Metrics of findings: equal to scikit-learn's on every resample, by hand on small cases, plain where undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import f1_score
from sklearn.metrics import roc_auc_score

from colipri_training.evaluation.bootstrap import estimate
from colipri_training.evaluation.bootstrap import mean_of_cases
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.metrics import METRICS
from colipri_training.evaluation.metrics import Predictions
from colipri_training.evaluation.metrics import Thresholds
from colipri_training.evaluation.metrics import best_thresholds
from colipri_training.evaluation.metrics import describe
from colipri_training.evaluation.metrics import finding_values
from colipri_training.evaluation.metrics import macro_auroc
from colipri_training.evaluation.metrics import resampled_values


def predictions(probabilities: list[list[float]], labels: list[list[float]]) -> Predictions:
    count = len(probabilities)
    return Predictions(
        findings=tuple("ABC"[: len(labels[0])]),
        ids=tuple(map(str, range(count))),
        patients=tuple(f"p{index}" for index in range(count)),
        probabilities=np.array(probabilities),
        labels=np.array(labels),
    )


class TestResampledMetrics:
    def test_every_resample_has_the_value_scikit_learn_gives_the_drawn_cases(self) -> None:
        rng = np.random.default_rng(0)
        labels = rng.random(60) < 0.3
        probabilities = np.round(rng.random(60) * 0.7 + 0.3 * labels, 1)  # many ties
        counts = resample_patients([f"p{index // 2}" for index in range(60)], resamples=40)

        found = resampled_values(labels, probabilities, 0.5, counts)
        for row, drawn in zip(found, counts.astype(int), strict=True):
            cases = np.repeat(np.arange(60), drawn)
            true, scores = labels[cases], probabilities[cases]
            expected = (
                roc_auc_score(true, scores),
                average_precision_score(true, scores),
                f1_score(true, scores >= 0.5),
                balanced_accuracy_score(true, scores >= 0.5),
            )
            assert row == pytest.approx(expected, abs=1e-12)

    def test_a_resample_with_one_label_is_left_out(self) -> None:
        counts = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
        found = resampled_values(np.array([True, True, False]), np.array([0.9, 0.2, 0.4]), 0.5, counts)

        assert np.isnan(found[0]).all()
        assert found[1] == pytest.approx([0.5, (1 + 2 / 3) / 2, 2 / 3, 0.75])

    def test_values_by_hand(self) -> None:
        labels, probabilities = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])

        assert finding_values(labels, probabilities, 0.75) == pytest.approx([0.75, (1 + 2 / 3) / 2, 0.5, 0.5])


class TestBootstrap:
    def test_patients_are_drawn_with_all_their_cases(self) -> None:
        counts = resample_patients(["a", "b", "a", "c"], resamples=200)

        assert (counts[:, 0] == counts[:, 2]).all()
        assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
        assert counts[:, 0].std() > 0

    def test_the_same_cases_give_the_same_resamples(self) -> None:
        assert (resample_patients(["a", "b"]) == resample_patients(["a", "b"])).all()

    def test_no_case_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one case"):
            resample_patients([])

    def test_an_interval_has_width_and_holds_the_percentiles(self) -> None:
        found = estimate(0.5, np.arange(101) / 100)
        assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.025, 0.975))

    def test_a_mean_leaves_unknown_cases_out(self) -> None:
        counts = resample_patients(list("abcd"), resamples=300)
        found = mean_of_cases(np.array([1.0, 0.0, math.nan, 1.0]), counts)

        assert found.value == pytest.approx(2 / 3)
        assert found.low < found.value < found.high

    def test_a_mean_of_nothing_is_none_in_a_document(self) -> None:
        found = mean_of_cases(np.full(3, math.nan), resample_patients(list("abc"), resamples=5))
        assert found.to_json() == {"value": None, "low": None, "high": None}


class TestThresholds:
    def test_the_best_f1_of_validation_is_taken(self) -> None:
        validation = predictions([[0.1], [0.4], [0.35], [0.8]], [[0.0], [0.0], [1.0], [1.0]])
        chosen = best_thresholds(validation, 1)

        scores = {t: f1_score([0, 0, 1, 1], np.array([0.1, 0.4, 0.35, 0.8]) >= t) for t in (0.1, 0.35, 0.4, 0.8)}
        assert chosen.values == (max(scores, key=scores.__getitem__),)
        assert "4 validation cases" in chosen.origin

    def test_without_validation_it_is_one_half_and_says_so(self) -> None:
        chosen = best_thresholds(None, 2)
        assert chosen.values == (0.5, 0.5)
        assert "no validation cases" in chosen.origin

    def test_a_finding_with_one_label_keeps_one_half(self) -> None:
        assert best_thresholds(predictions([[0.1], [0.4]], [[0.0], [0.0]]), 1).values == (0.5,)


class TestDescribe:
    counts = resample_patients([f"p{index}" for index in range(6)], resamples=50)
    table = predictions(
        [[0.9, 0.2, 0.1], [0.8, 0.3, 0.2], [0.2, 0.1, 0.7], [0.1, 0.6, 0.8], [0.3, 0.6, 0.3], [0.7, 0.2, 0.6]],
        [[1, 0, math.nan], [1, 0, 0], [0, 0, 1], [0, 0, math.nan], [0, 0, 0], [1, 0, 1]],
    )

    def test_unknown_labels_take_no_part(self) -> None:
        rows = describe(self.table, Thresholds(values=(0.5,) * 3, origin=""), self.counts)["findings"]

        assert (rows[2]["positive"], rows[2]["negative"]) == (2, 2)
        assert rows[2]["auroc"]["value"] == 1.0

    def test_a_finding_with_one_label_has_a_note_and_is_not_in_the_macro_figure(self) -> None:
        found = describe(self.table, Thresholds(values=(0.5,) * 3, origin=""), self.counts)

        assert "One label only" in found["findings"][1]["note"]
        assert "auroc" not in found["findings"][1]
        assert found["macro_findings"] == 2
        assert set(found["macro"]) == set(METRICS)
        assert found["macro"]["auroc"]["value"] == 1.0

    def test_no_finding_with_both_labels_gives_no_macro_figure(self) -> None:
        table = predictions([[0.5], [0.6]], [[0.0], [0.0]])
        counts = resample_patients(["a", "b"], resamples=5)

        assert describe(table, best_thresholds(None, 1), counts)["macro"] == {}
        assert math.isnan(macro_auroc(table, counts)[0])

    def test_the_macro_figure_of_comparisons_is_the_same(self) -> None:
        found = describe(self.table, best_thresholds(None, 3), self.counts)
        value, spread = macro_auroc(self.table, self.counts)

        assert found["macro"]["auroc"]["value"] == pytest.approx(value)
        assert np.nanpercentile(spread, 2.5) == pytest.approx(found["macro"]["auroc"]["low"], abs=1e-5)
