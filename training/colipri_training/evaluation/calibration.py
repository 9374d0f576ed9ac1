"""Per-finding calibration: Platt's slope and offset, fitted on validation cases, judged on cases under test.

A bundle's `calibration` holds, for each finding's code, (a, b) of the probability sigmoid(a * logit + b), where the
logit is what the viewers compute: the difference of cosine similarities with the prompts of `engine`, divided by the
temperature. Fitting follows Platt (1999), with his smoothed targets. A finding needs twenty cases with and
twenty without it: ten for each of the two numbers (Peduzzi et al., 1996). A finding whose logits rank no better than
chance (slope not above 0) gets slope 0, so that all cases show how frequent it is (our choice).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from colipri_core.model.bundle import Bundle
from colipri_core.model.export import save_changed
from colipri_core.model.spec import BundleSpec
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_training.evaluation.bootstrap import plain
from colipri_training.evaluation.label_sets import LabelSet

FEWEST = 20
BINS = 10

_NO_BETTER = (
    "Calibration did not lower the mean Brier score of the cases under test ({brier} before, {after[brier]} after); "
    "the probabilities were good already, or there were too few validation cases. Keep the model as it was."
)

Floats = npt.NDArray[np.float64]
Pair = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Logits (N, 18) of cases and their labels (N, F)."""

    logits: Floats
    labels: Floats


def fit(judged: Judged, labels: LabelSet) -> dict[str, Pair]:
    """Fit slope and offset of every finding with enough cases.

    Args:
        judged: Of the validation cases.
        labels: Which findings they are labelled for; findings that share a label are left out.

    Returns:
        Finding's code -> (a, b).
    """
    fitted: dict[str, Pair] = {}
    for index, columns in enumerate(labels.columns):
        known = ~np.isnan(judged.labels[:, index])
        present = judged.labels[known, index] > 0
        if len(columns) == 1 and min(present.sum(), (~present).sum()) >= FEWEST:
            fitted[CT_RATE_CONCEPTS[columns[0]].code] = platt(judged.logits[known, columns[0]], present)
    return fitted


def platt(logits: Floats, present: npt.NDArray[np.bool_]) -> Pair:
    """Return slope and offset of one finding.

    Args:
        logits: (N,).
        present: (N,) whether the finding is there; both must occur.
    """
    positive, negative = int(present.sum()), int((~present).sum())
    target = np.where(present, (positive + 1) / (positive + 2), 1 / (negative + 2))
    # A case with target t counts as t positives and 1 - t negatives, which is the cross-entropy with t.
    values = np.concatenate([logits, logits])[:, None]
    classes = np.repeat([1, 0], len(logits))
    model = LogisticRegression(C=np.inf, max_iter=1000).fit(values, classes, np.concatenate([target, 1 - target]))
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope > 0:
        return slope, offset
    share = float(target.mean())
    return 0.0, math.log(share / (1 - share))


def describe(judged: Judged, labels: LabelSet, before: Mapping[str, Pair], after: Mapping[str, Pair]) -> dict[str, Any]:
    """Return Brier scores and calibration errors before and after, by finding and as means, as plain values.

    Args:
        judged: Of the cases under test.
        labels: Which findings they are labelled for.
        before: The bundle's own calibration; empty if it has none.
        after: The new one; what it lacks stays as before.
    """
    rows: list[dict[str, Any]] = []
    for index, (name, columns) in enumerate(zip(labels.findings, labels.columns, strict=True)):
        known = ~np.isnan(judged.labels[:, index])
        code = CT_RATE_CONCEPTS[columns[0]].code
        if len(columns) > 1 or code not in after or not known.any():
            reason = f"Fewer than {FEWEST} validation cases with or without it." if len(columns) == 1 else "Merged."
            rows.append({"name": name, "note": f"Not calibrated: {reason}"})
            continue
        logits, present = judged.logits[known, columns[0]], judged.labels[known, index] > 0
        sides = {"before": calibrated(logits, before.get(code)), "after": calibrated(logits, after[code])}
        rows.append(
            {"name": name, "code": code, "slope": round(after[code][0], 6), "offset": round(after[code][1], 6)}
            | {side: quality(probabilities, present) for side, probabilities in sides.items()}
        )
    done = [row for row in rows if "before" in row]
    means = {
        side: {figure: round(float(np.mean([row[side][figure] for row in done])), 5) for figure in ("brier", "ece")}
        for side in ("before", "after")
        if done
    }
    section = {"cases": len(judged.labels), "calibrated": len(done), "mean": means, "findings": rows}
    if means and means["after"]["brier"] >= means["before"]["brier"]:
        section["note"] = _NO_BETTER.format(**means["before"], after=means["after"])
    return section


def quality_of(judged: Judged, labels: LabelSet, own: Mapping[str, Pair]) -> dict[str, Any]:
    """Return how good the probabilities are that the viewers show, by finding and as means, as plain values.

    Args:
        judged: Of the cases under test.
        labels: Which findings they are labelled for; where a label joins several, the greatest probability counts.
        own: The bundle's own calibration; empty if it has none.
    """
    codes = [concept.code for concept in CT_RATE_CONCEPTS]
    shown = np.stack([calibrated(judged.logits[:, i], own.get(code)) for i, code in enumerate(codes)], axis=1)
    probabilities = labels.scores(shown)
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(labels.findings):
        known = ~np.isnan(judged.labels[:, index])
        if known.any():
            rows.append({"name": name} | quality(probabilities[known, index], judged.labels[known, index] > 0))
    means = {figure: plain(float(np.mean([row[figure] for row in rows]))) for figure in ("brier", "ece")}
    return {"calibrated": bool(own), "mean": means, "findings": rows}


def expected_calibration_error(probabilities: Floats, present: npt.NDArray[np.bool_], *, bins: int = BINS) -> float:
    """Mean distance between predicted and observed frequency over equally wide bins, weighted by their cases.

    Naeini et al., 2015, for the probability of the positive class; ten bins are our choice.
    """
    total = 0.0
    for row in reliability(probabilities, present, bins=bins):
        total += row["cases"] * abs(row["predicted"] - row["observed"])
    return total / len(probabilities)


def reliability(
    probabilities: Floats, present: npt.NDArray[np.bool_], *, bins: int = BINS
) -> list[dict[str, float | int]]:
    """Predicted and observed frequency of the cases in each bin that has any."""
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [
        {
            "predicted": float(probabilities[place == index].mean()),
            "observed": float(present[place == index].mean()),
            "cases": int((place == index).sum()),
        }
        for index in range(bins)
        if (place == index).any()
    ]


def write_calibrated(bundle: Bundle, calibration: Mapping[str, Pair], folder: Path) -> BundleSpec:
    """Write a copy of a bundle with a calibration; one that is there is replaced.

    Args:
        bundle: The bundle.
        calibration: Finding's code -> (a, b); findings it lacks keep what the bundle had.
        folder: Where the copy goes.

    Returns:
        The spec as written.
    """
    spec = dataclasses.replace(bundle.spec, calibration={**(bundle.spec.calibration or {}), **calibration})
    return save_changed(bundle, folder, spec=spec, overwrite=True)


def calibrated(logits: Floats, pair: Pair | None) -> Floats:
    """Probabilities of logits, through a calibration or, with None, as the model gives them."""
    slope, offset = pair or (1.0, 0.0)
    return np.asarray(expit(slope * logits + offset), dtype=np.float64)


def quality(probabilities: Floats, present: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Brier score, expected calibration error and reliability of one finding, as plain values."""
    return {
        "brier": plain(float(brier_score_loss(present, probabilities))),
        "ece": plain(expected_calibration_error(probabilities, present)),
        "reliability": [
            {name: round(value, 4) for name, value in row.items()} for row in reliability(probabilities, present)
        ],
    }
