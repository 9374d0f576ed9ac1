"""Calibration: Platt's fit on known slopes, errors by hand, and a copy of the bundle that the engine uses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from chests import chest
from random_bundles import save_random_bundle

from colipri_core import open_engine
from colipri_core.model.bundle import load_bundle
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.layouts.rad_chestct import RAD_CHESTCT_COLUMNS
from colipri_training.evaluation.calibration import Judged
from colipri_training.evaluation.calibration import describe
from colipri_training.evaluation.calibration import expected_calibration_error
from colipri_training.evaluation.calibration import fit
from colipri_training.evaluation.calibration import platt
from colipri_training.evaluation.calibration import quality_of
from colipri_training.evaluation.calibration import write_calibrated
from colipri_training.evaluation.label_sets import label_set

ALL = label_set(CT_RATE_FINDINGS)
CODES = [concept.code for concept in CT_RATE_CONCEPTS]


def judged(count: int, *, slope: float, offset: float, seed: int = 0) -> Judged:
    """Cases whose findings truly follow sigmoid(slope * logit + offset), all 18 alike."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, len(CODES)))
    labels = rng.random(logits.shape) < 1 / (1 + np.exp(-(slope * logits + offset)))
    return Judged(logits=logits, labels=labels.astype(np.float64))


class TestPlatt:
    def test_it_recovers_slope_and_offset(self) -> None:
        known = judged(4000, slope=0.5, offset=-1.0)
        slope, offset = platt(known.logits[:, 0], known.labels[:, 0] > 0)

        assert slope == pytest.approx(0.5, abs=0.06)
        assert offset == pytest.approx(-1.0, abs=0.1)

    def test_separated_cases_keep_a_finite_slope(self) -> None:
        slope, _ = platt(np.arange(-10.0, 10.0) + 0.5, np.arange(-10, 10) >= 0)
        assert 0 < slope < 100

    def test_logits_that_rank_the_wrong_way_give_the_frequency(self) -> None:
        known = judged(2000, slope=-1.0, offset=0.0)
        slope, offset = platt(known.logits[:, 0], known.labels[:, 0] > 0)

        assert slope == 0.0
        assert 1 / (1 + np.exp(-offset)) == pytest.approx(known.labels[:, 0].mean(), abs=0.01)


class TestFit:
    def test_findings_with_few_cases_are_left_out(self) -> None:
        known = judged(200, slope=1.0, offset=0.0)
        known.labels[:, 3] = 0.0
        known.labels[:19, 3] = 1.0
        known.labels[:, 4] = np.nan

        assert set(fit(known, ALL)) == set(CODES) - {CODES[3], CODES[4]}

    def test_a_label_that_joins_two_findings_calibrates_neither(self) -> None:
        known, merged = judged(200, slope=1.0, offset=0.0), label_set(RAD_CHESTCT_COLUMNS)
        found = fit(Judged(logits=known.logits, labels=known.labels[:, :16]), merged)

        assert len(found) == 15
        assert not {CODES[1], CODES[4], CODES[13]} & set(found)


class TestErrors:
    def test_calibration_error_by_hand(self) -> None:
        # Bin 0.1-0.2: predicted 0.15, observed 0.5. Bin 0.9-1: predicted 0.95, observed 1. Two of four cases each.
        probabilities, present = np.array([0.15, 0.15, 0.9, 1.0]), np.array([True, False, True, True])
        assert expected_calibration_error(probabilities, present) == pytest.approx(0.5 * 0.35 + 0.5 * 0.05)

    def test_a_calibration_of_other_cases_lowers_both_errors(self) -> None:
        fitted = fit(judged(1000, slope=0.3, offset=-1.5), ALL)
        found = describe(judged(1000, slope=0.3, offset=-1.5, seed=1), ALL, {}, fitted)

        assert found["calibrated"] == 18
        for figure in ("brier", "ece"):
            assert found["mean"]["after"][figure] < found["mean"]["before"][figure]
        assert found["mean"]["after"]["ece"] < 0.06

    def test_one_that_does_not_help_says_so(self) -> None:
        known = judged(500, slope=1.0, offset=0.0)

        assert "did not lower" in describe(known, ALL, {}, {CODES[0]: (0.1, 3.0)})["note"]
        assert "note" not in describe(known, ALL, {CODES[0]: (0.1, 3.0)}, {CODES[0]: (1.0, 0.0)})

    def test_brier_by_hand(self) -> None:
        logits = np.zeros((4, len(CODES)))
        labels = np.tile([[1.0], [0.0], [0.0], [np.nan]], (1, len(CODES)))
        found = quality_of(Judged(logits=logits, labels=labels), ALL, {CODES[0]: (1.0, np.log(3))})

        assert found["findings"][0]["brier"] == pytest.approx((0.25**2 + 2 * 0.75**2) / 3, abs=1e-5)
        assert found["findings"][1]["brier"] == pytest.approx(0.25)

    def test_what_was_not_calibrated_says_why(self) -> None:
        found = describe(judged(20, slope=1.0, offset=0.0), ALL, {}, {CODES[0]: (1.0, 0.0)})

        assert "Fewer than 20 validation cases" in found["findings"][1]["note"]
        assert found["calibrated"] == 1


class TestCopy:
    def test_the_engine_shows_the_calibrated_probability(self, tmp_path: Path) -> None:
        source = save_random_bundle(tmp_path / "plain")
        bundle = load_bundle(source)
        write_calibrated(bundle, {CODES[12]: (0.5, -1.0)}, tmp_path / "copies" / "plain")

        findings = {}
        for folder in (source, tmp_path / "copies" / "plain"):
            with (
                open_engine(folder, device="cpu", cache_dir=tmp_path / "cache") as engine,
                engine.open(chest()) as session,
            ):
                findings[folder] = session.classify()
        before, after = (found["Pleural effusion"] for found in findings.values())
        logit = np.log(before.probability / (1 - before.probability))
        assert (before.calibrated, after.calibrated) == (False, True)
        assert after.probability == pytest.approx(1 / (1 + np.exp(-(0.5 * logit - 1.0))), abs=1e-5)
        untouched = [found["Emphysema"].probability for found in findings.values()]
        assert untouched[0] == untouched[1]

    def test_weights_stay_the_same_and_an_older_calibration_is_kept(self, tmp_path: Path) -> None:
        source = save_random_bundle(tmp_path / "plain", calibration={CODES[0]: (2.0, 0.0)})
        write_calibrated(load_bundle(source), {CODES[1]: (0.5, 0.0)}, tmp_path / "copy")
        write_calibrated(load_bundle(source), {CODES[1]: (0.7, 0.0)}, tmp_path / "copy")
        specs = [json.loads((folder / "spec.json").read_text()) for folder in (source, tmp_path / "copy")]

        assert specs[0]["files"] == specs[1]["files"]
        assert specs[1]["calibration"] == {CODES[0]: [2.0, 0.0], CODES[1]: [0.7, 0.0]}
