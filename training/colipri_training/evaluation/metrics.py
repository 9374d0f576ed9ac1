"""AUROC, AUPRC, F1 and balanced accuracy of findings, each with a bootstrap interval, and macro over the findings.

Values are scikit-learn's. For intervals, the same formulas take how often each resample holds each case and give all
resamples at once: 1,000 resamples of 18 findings take a second where as many calls would take minutes. Naming: N
cases, F findings, R resamples, U distinct scores.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import f1_score
from sklearn.metrics import precision_recall_curve
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve

from colipri_training.evaluation.bootstrap import Counts
from colipri_training.evaluation.bootstrap import estimate
from colipri_training.evaluation.bootstrap import plain

METRICS = ("auroc", "auprc", "f1", "balanced_accuracy")
DEFAULT_THRESHOLD = 0.5
_ROC_POINTS = 51

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Probabilities and labels of the same cases.

    Args:
        findings: Names of the findings.
        ids: Names of the cases.
        patients: Whose each case is.
        probabilities: (N, F) in [0, 1].
        labels: (N, F), 1 present, 0 absent, NaN unknown.
    """

    findings: tuple[str, ...]
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    probabilities: Floats
    labels: Floats

    def known(self, finding: int) -> Bools:
        """(N,) whether the label of a finding is known."""
        return np.asarray(~np.isnan(self.labels[:, finding]), dtype=bool)

    def column(self, finding: int) -> tuple[Bools, Floats]:
        """Labels and probabilities of a finding, of the cases whose label is known."""
        known = self.known(finding)
        return self.labels[known, finding] > 0, self.probabilities[known, finding]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From which probability on a finding counts as found.

    Args:
        values: One a finding.
        origin: Where they come from, in words.
    """

    values: tuple[float, ...]
    origin: str


def best_thresholds(validation: Predictions | None, findings: int) -> Thresholds:
    """Choose, for each finding, the threshold of the best F1 on cases that are not under test.

    Args:
        validation: Predictions on the validation split; None if there is none.
        findings: Number of findings.

    Returns:
        One a finding; 0.5 where the validation cases do not hold both labels.
    """
    if validation is None or not len(validation.ids):
        return Thresholds(values=(DEFAULT_THRESHOLD,) * findings, origin="0.5 for all: there are no validation cases")
    values = tuple(_best_f1_threshold(*validation.column(index)) for index in range(findings))
    return Thresholds(values=values, origin=f"best F1 on {len(validation.ids)} validation cases, finding by finding")


def _best_f1_threshold(labels: Bools, probabilities: Floats) -> float:
    if labels.all() or not labels.any():
        return DEFAULT_THRESHOLD
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    return float(thresholds[np.nanargmax(f1[:-1])])


def describe(predictions: Predictions, thresholds: Thresholds, counts: Counts) -> dict[str, Any]:
    """Return all figures as plain values: a row a finding, and macro over the findings that have both labels.

    Args:
        predictions: On the cases under test.
        thresholds: One a finding, chosen on other cases.
        counts: (R, N) from `bootstrap.resample_patients`.
    """
    rows: list[dict[str, Any]] = []
    values: list[Floats] = []
    resampled: list[npt.NDArray[np.float64]] = []
    for index, name in enumerate(predictions.findings):
        labels, probabilities = predictions.column(index)
        threshold = thresholds.values[index]
        row: dict[str, Any] = {"name": name, "positive": int(labels.sum()), "negative": int((~labels).sum())}
        if labels.any() and not labels.all():
            own = finding_values(labels, probabilities, threshold)
            spread = resampled_values(labels, probabilities, threshold, counts[:, predictions.known(index)])
            values.append(own)
            resampled.append(spread)
            figures = (estimate(value, column).to_json() for value, column in zip(own, spread.T, strict=True))
            row |= dict(zip(METRICS, figures, strict=True))
            row |= {"threshold": plain(threshold), "roc": _roc(labels, probabilities)}
        else:
            row["note"] = "One label only among the cases under test: no figure can be given."
        rows.append(row)
    return {
        "cases": len(predictions.ids),
        "patients": len(set(predictions.patients)),
        "thresholds": thresholds.origin,
        "macro": _macro(values, resampled),
        "macro_findings": len(values),
        "findings": rows,
    }


def macro_auroc(predictions: Predictions, counts: Counts) -> tuple[float, npt.NDArray[np.float64]]:
    """Mean AUROC over the findings with both labels: on the cases, and on each resample (R,)."""
    values, resampled = [], []
    for index in range(len(predictions.findings)):
        labels, probabilities = predictions.column(index)
        if labels.any() and not labels.all():
            values.append(float(roc_auc_score(labels, probabilities)))
            resampled.append(resampled_auroc(labels, probabilities, counts[:, predictions.known(index)]))
    if not values:
        return math.nan, np.full(len(counts), math.nan)
    return float(np.mean(values)), _nanmean(np.stack(resampled))


def finding_values(labels: Bools, probabilities: Floats, threshold: float) -> Floats:
    """(4,) the metrics of one finding, in the order of `METRICS`, by scikit-learn."""
    found = probabilities >= threshold
    return np.array(
        [
            roc_auc_score(labels, probabilities),
            average_precision_score(labels, probabilities),
            f1_score(labels, found, zero_division=0.0),
            balanced_accuracy_score(labels, found),
        ]
    )


def resampled_values(labels: Bools, probabilities: Floats, threshold: float, counts: Counts) -> Floats:
    """(R, 4) the same metrics on resamples; NaN where a resample has one label only."""
    positive, negative = counts * labels, counts * ~labels
    found = probabilities >= threshold
    hit, false_alarm = positive @ found, negative @ found
    total, others = positive.sum(axis=1), negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * hit / (hit + false_alarm + total)
        balanced = (hit / total + 1 - false_alarm / others) / 2
        columns = [
            resampled_auroc(labels, probabilities, counts),
            _resampled_average_precision(labels, probabilities, counts),
            f1,
            balanced,
        ]
    columns_R4 = np.stack(columns, axis=1)
    columns_R4[(total == 0) | (others == 0)] = math.nan
    return columns_R4


def resampled_auroc(labels: Bools, probabilities: Floats, counts: Counts) -> Floats:
    """(R,) share of pairs of a positive and a negative in the right order, ties half; NaN with one label only."""
    positive_RU, negative_RU = _by_score(labels, probabilities, counts)
    below_RU = np.cumsum(negative_RU, axis=1) - negative_RU / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = positive_RU.sum(axis=1) * negative_RU.sum(axis=1)
        return np.asarray((positive_RU * below_RU).sum(axis=1) / pairs)


def _resampled_average_precision(labels: Bools, probabilities: Floats, counts: Counts) -> Floats:
    positive_RU, negative_RU = (table[:, ::-1] for table in _by_score(labels, probabilities, counts))
    hits_RU = np.cumsum(positive_RU, axis=1)
    found_RU = hits_RU + np.cumsum(negative_RU, axis=1)
    precision_RU = np.divide(hits_RU, found_RU, out=np.zeros_like(hits_RU), where=found_RU > 0)
    return np.asarray((positive_RU * precision_RU).sum(axis=1) / positive_RU.sum(axis=1))


def _by_score(labels: Bools, probabilities: Floats, counts: Counts) -> tuple[Floats, Floats]:
    """How many positives and negatives (R, U) each resample has at each distinct score, rising."""
    order = np.argsort(probabilities, kind="stable")
    ranked = probabilities[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    tables = (np.add.reduceat((counts * side)[:, order], starts, axis=1) for side in (labels, ~labels))
    positive, negative = tables
    return positive, negative


def _macro(values: Sequence[Floats], resampled: Sequence[Floats]) -> dict[str, Any]:
    if not values:
        return {}
    means = np.mean(np.stack(values), axis=0)
    spread_R4 = _nanmean(np.stack(resampled))
    figures = (estimate(float(value), column).to_json() for value, column in zip(means, spread_R4.T, strict=True))
    return dict(zip(METRICS, figures, strict=True))


def _nanmean(values: Floats) -> Floats:
    """Mean over the first axis without NaN; NaN only where all are."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


def _roc(labels: Bools, probabilities: Floats) -> list[float]:
    """Sensitivity at 51 evenly spaced false positive rates, for drawing."""
    false_positive, true_positive, _ = roc_curve(labels, probabilities)
    grid = np.linspace(0, 1, _ROC_POINTS)
    return [round(float(value), 4) for value in np.interp(grid, false_positive, true_positive)]
