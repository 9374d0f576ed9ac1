"""Findings under test: zero-shot with several prompt sets, linear probes, the quality of probabilities, calibration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_training.evaluation import calibration
from colipri_training.evaluation import metrics
from colipri_training.evaluation.bench import Bench
from colipri_training.evaluation.bench import known_labels
from colipri_training.evaluation.bootstrap import mean_of_cases
from colipri_training.evaluation.calibration import Judged
from colipri_training.evaluation.cases import Source
from colipri_training.evaluation.errors import NotApplicableError
from colipri_training.evaluation.features import Features
from colipri_training.evaluation.features import recorded_hits
from colipri_training.evaluation.label_sets import LabelSet
from colipri_training.evaluation.metrics import Predictions
from colipri_training.evaluation.probes import Labelled
from colipri_training.evaluation.probes import train_probe
from colipri_training.evaluation.prompts import ENGINE
from colipri_training.evaluation.prompts import PROMPT_SETS
from colipri_training.evaluation.prompts import UNSEEN
from colipri_training.evaluation.prompts import bundle_directions
from colipri_training.evaluation.zero_shot import FOCAL
from colipri_training.evaluation.zero_shot import margins

Floats = npt.NDArray[np.float64]
Scorer = Callable[[Features], Floats]
"""Features of N cases to their scores (N, 18), NaN where there is none."""


class Classification:
    """All that concerns the findings of one bundle.

    Args:
        bench: The bundle and its data sets.

    Attributes:
        predictions: (data set, method) -> probabilities and labels of the cases under test.
    """

    def __init__(self, bench: Bench) -> None:
        self.predictions: dict[tuple[str, str], Predictions] = {}
        self._bench = bench
        self._bundle = bench.encoder.bundle
        self._probes: dict[tuple[str, str], Scorer] = {}

    def zero_shot(self, source: Source) -> dict[str, Any]:
        """Return the metrics of every prompt set."""
        names = [name for name in PROMPT_SETS if name != UNSEEN or source.has_reference]
        directions = {name: bundle_directions(self._bundle, name) for name in names}
        return {
            name: self._measure(source, f"zero-shot {name}", partial(self._probabilities, directions=directions[name]))
            for name in names
        }

    def quality(self, source: Source) -> dict[str, Any]:
        """Return Brier scores and calibration errors of the probabilities that the viewers show."""
        labels = self._bench.labels(source)
        judged = self._judged(self._bench.features(source, "test"), labels)
        return calibration.quality_of(judged, labels, self._bundle.spec.calibration or {})

    def pointing(self, source: Source) -> dict[str, Any]:
        """Return how often maps peak on the finding.

        Raises:
            NotApplicableError: If the data set has no masks.
        """
        if not source.has_reference:
            msg = "This data set has no masks of findings."
            raise NotApplicableError(msg)
        test = self._bench.features(source, "test")
        hits, counts = recorded_hits(test), self._bench.counts(test.patients)
        rows = [
            {"name": concept.name, "focal": concept.focal} | mean_of_cases(hits[:, index], counts).to_json()
            for index, concept in enumerate(CT_RATE_CONCEPTS)
        ]
        return {"prompts": UNSEEN, "focal": mean_of_cases(hits[:, FOCAL], counts).to_json(), "findings": rows}

    def probes(self, source: Source) -> dict[str, Any]:
        """Return the metrics of a linear probe with each pooling.

        Raises:
            NotApplicableError: If there is nothing to fit them on.
        """
        options = self._bench.options.probe
        poolings = {
            name: self._measure(source, f"probe {name}", self._probe(source, name)) for name in options.poolings
        }
        train = self._bench.home_features(source, "train")
        return {"options": options.to_json(), "training_cases": len(train or ()), "poolings": poolings}

    def calibrate(self, source: Source) -> dict[str, Any]:
        """Fit a calibration on validation cases, judge it on those under test, and write a copy of the bundle.

        Raises:
            NotApplicableError: If no finding has enough validation cases.
        """
        labels = self._bench.labels(source)
        validation = self._bench.features(source, "validation")
        fitted = calibration.fit(self._judged(validation, labels), labels)
        if not fitted:
            msg = (
                f"No finding has {calibration.FEWEST} validation cases with it and as many without it among "
                f"{len(validation)}, so nothing was calibrated and no copy of the bundle was written."
            )
            raise NotApplicableError(msg)
        judged = self._judged(self._bench.features(source, "test"), labels)
        section = calibration.describe(judged, labels, self._bundle.spec.calibration or {}, fitted)
        calibration.write_calibrated(self._bundle, fitted, self._bench.options.output / "calibrated" / self._bench.name)
        return {"validation_cases": len(validation), "bundle": f"calibrated/{self._bench.name}"} | section

    def _measure(self, source: Source, method: str, score: Scorer) -> dict[str, Any]:
        """Metrics of one way to score cases, with thresholds from validation cases."""
        labels, test = self._bench.labels(source), self._bench.features(source, "test")
        validation = self._bench.home_features(source, "validation")
        held_out = None if validation is None else _predictions(validation, labels, score(validation))
        predictions = _predictions(test, labels, score(test))
        self.predictions[source.name, method] = predictions
        thresholds = metrics.best_thresholds(held_out, len(labels.findings))
        counts = self._bench.counts(test.patients)
        return {"labels": labels.name} | metrics.describe(predictions, thresholds, counts)

    def _logits(self, features: Features, directions: Tensor) -> Floats:
        if not len(features):
            return np.empty((0, len(CT_RATE_CONCEPTS)))
        return margins(features.joint, directions, self._bench.encoder.temperature)

    def _probabilities(self, features: Features, *, directions: Tensor) -> Floats:
        return calibration.calibrated(self._logits(features, directions), None)

    def _judged(self, features: Features, labels: LabelSet) -> Judged:
        logits = self._logits(features, bundle_directions(self._bundle, ENGINE))
        return Judged(logits=logits, labels=known_labels(features, labels))

    def _probe(self, source: Source, pooling: str) -> Scorer:
        home, train = self._bench.home(source), self._bench.home_features(source, "train")
        if home is None or train is None:
            msg = "There are no training cases to fit a probe on."
            raise NotApplicableError(msg)
        key = (home.name, pooling)
        if key not in self._probes:
            self._probes[key] = self._fit_probe(home, train, pooling)
        return self._probes[key]

    def _fit_probe(self, home: Source, train: Features, pooling: str) -> Scorer:
        labels = self._bench.labels(home)
        labelled = Labelled(features=train, labels=known_labels(train, labels))
        both = (np.nansum(labelled.labels, axis=0) > 0) & (np.nansum(1 - labelled.labels, axis=0) > 0)
        if not both.any():
            msg = f"None of the {len(train)} training cases differ in a label, so there is nothing to fit."
            raise NotApplicableError(msg)
        held_out = self._bench.home_features(home, "validation")
        validation = None if held_out is None else Labelled(features=held_out, labels=known_labels(held_out, labels))
        heads = self._bundle.spec.architecture.image.heads
        predict = train_probe(pooling, labelled, validation, self._bench.options.probe, heads=heads)
        return lambda features: labels.spread(predict(features))


def _predictions(features: Features, labels: LabelSet, scores: Floats) -> Predictions:
    """Join scores (N, 18) and labels for the findings of a label set; without a score, a label counts as unknown."""
    probabilities = labels.scores(scores)
    return Predictions(
        findings=labels.findings,
        ids=tuple(case.id for case in features.cases),
        patients=tuple(features.patients),
        probabilities=np.nan_to_num(probabilities),
        labels=np.where(np.isnan(probabilities), np.nan, known_labels(features, labels)),
    )
