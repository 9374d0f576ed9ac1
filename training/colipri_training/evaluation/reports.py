"""Report generation under test: what a bundle writes, beside two baselines that look at less.

The baselines are the report of the most similar training case (by the bundle's own volume vectors), and the most
frequent report of the training cases. A model that writes no better than they do has learned to copy, not to describe.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from colipri_training.evaluation import report_scores
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.errors import NotApplicableError
from colipri_training.evaluation.features import Features
from colipri_training.evaluation.report_scores import Labeller
from colipri_training.evaluation.report_scores import shipped_labeller


def evaluate(
    train: Features | None, test: Features, *, resamples: int, labeller: Labeller = shipped_labeller
) -> dict[str, Any]:
    """Score what the bundle wrote and the baselines against the true reports.

    Args:
        train: Training cases, whose reports the baselines take; None if there are none.
        test: Cases under test, with what the bundle wrote of them.
        resamples: Of the bootstrap.
        labeller: Reads the findings of a text.

    Returns:
        Scores by kind: "generated", "nearest", "most_frequent"; {"not_done": reason} for what cannot be had.

    Raises:
        NotApplicableError: If no case under test has a report.
    """
    rows = [index for index, case in enumerate(test.cases) if case.report is not None]
    if not rows:
        msg = "No case under test has a report to compare with."
        raise NotApplicableError(msg)
    references = [test.cases[index].report or "" for index in rows]
    counts = resample_patients([test.cases[index].patient for index in rows], resamples=resamples)
    written: dict[str, list[str] | str] = {
        "generated": _generated(test, rows),
        "nearest": _nearest(train, test, rows),
        "most_frequent": _most_frequent(train, len(rows)),
    }
    return {
        kind: {"not_done": texts}
        if isinstance(texts, str)
        else report_scores.describe(texts, references, counts, labeller=labeller)
        for kind, texts in written.items()
    }


def _generated(test: Features, rows: list[int]) -> list[str] | str:
    if any("report" not in test.records[index] for index in rows):
        return "The bundle has no report decoder, so it writes no reports. Train one with a recipe that ends in -cr."
    return [str(test.records[index]["report"]) for index in rows]


def _nearest(train: Features | None, test: Features, rows: list[int]) -> list[str] | str:
    known = [index for index, case in enumerate(train.cases if train else ()) if case.report is not None]
    if train is None or not known:
        return "No training case has a report, so there is none to retrieve."
    nearest = (test.joint[rows] @ train.joint[known].T).argmax(dim=1)
    return [train.cases[known[int(index)]].report or "" for index in nearest]


def _most_frequent(train: Features | None, count: int) -> list[str] | str:
    reports = Counter(case.report for case in (train.cases if train else ()) if case.report is not None)
    if not reports:
        return "No training case has a report."
    return [reports.most_common(1)[0][0]] * count
