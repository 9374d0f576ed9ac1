"""Everything one bundle is measured on, data set by data set, from features that are computed once."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_training.evaluation import calibration
from colipri_training.evaluation import metrics
from colipri_training.evaluation import reports
from colipri_training.evaluation import retrieval
from colipri_training.evaluation.bootstrap import RESAMPLES
from colipri_training.evaluation.bootstrap import mean_of_cases
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.calibration import Judged
from colipri_training.evaluation.cases import Source
from colipri_training.evaluation.encoder import Encoder
from colipri_training.evaluation.errors import NoCasesError
from colipri_training.evaluation.errors import NotApplicableError
from colipri_training.evaluation.features import Features
from colipri_training.evaluation.features import FeatureStore
from colipri_training.evaluation.features import recorded_hits
from colipri_training.evaluation.label_sets import LabelSet
from colipri_training.evaluation.label_sets import label_set
from colipri_training.evaluation.metrics import Predictions
from colipri_training.evaluation.probes import Labelled
from colipri_training.evaluation.probes import ProbeOptions
from colipri_training.evaluation.probes import train_probe
from colipri_training.evaluation.prompts import ENGINE
from colipri_training.evaluation.prompts import PROMPT_SETS
from colipri_training.evaluation.prompts import UNSEEN
from colipri_training.evaluation.prompts import bundle_directions
from colipri_training.evaluation.zero_shot import FOCAL
from colipri_training.evaluation.zero_shot import logistic
from colipri_training.evaluation.zero_shot import margins

logger = logging.getLogger(__name__)

TASKS = ("zero-shot", "probe", "retrieval", "reports", "structures")
OUTLINED = 50
"""Cases whose outlines are compared with the reference (our choice): surfaces take seconds each."""

OnCase = Callable[[str, int, int], None]
Floats = npt.NDArray[np.float64]
Section = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What is measured, and how.

    Args:
        output: Folder of the results; features are kept in it.
        tasks: Some of `TASKS`.
        probe: How probes are trained.
        outlined: In how many cases outlines are compared with the reference.
        resamples: Of each bootstrap.
        calibrate: Whether a calibrated copy of the bundle is written.
    """

    output: Path
    tasks: tuple[str, ...] = TASKS
    probe: ProbeOptions = dataclasses.field(default_factory=ProbeOptions)
    outlined: int = OUTLINED
    resamples: int = RESAMPLES
    calibrate: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tasks) - set(TASKS))
        if unknown or not self.tasks:
            msg = f"Expected some of the tasks {', '.join(TASKS)}, got {', '.join(unknown) or 'none'}."
            raise ValueError(msg)


class ModelRun:
    """One bundle on all data sets.

    Args:
        encoder: The bundle.
        name: What it is called in the results.
        sources: The data sets; those that are external take thresholds, probes and baselines from the first that is
            not.
        options: What is measured.
        on_case: Told a description, the number of encoded cases and of all.

    Attributes:
        predictions: (data set, method) -> probabilities and labels of the cases under test.
    """

    def __init__(
        self, encoder: Encoder, name: str, sources: Sequence[Source], options: RunOptions, on_case: OnCase | None = None
    ) -> None:
        self.predictions: dict[tuple[str, str], Predictions] = {}
        self._encoder = encoder
        self._name = name
        self._sources = sources
        self._options = options
        self._on_case = on_case
        self._store = FeatureStore(encoder, options.output / "features")
        self._kept: dict[tuple[str, str], Features] = {}
        self._probes: dict[tuple[str, str], Callable[[Features], Floats]] = {}

    def evaluate(self) -> Section:
        """Return all figures as plain values, by data set.

        Raises:
            NoCasesError: If a data set has no cases to test.
            PreparedDataError: If a data set was prepared for another grid.
        """
        bundle = self._encoder.bundle
        for source in self._sources:
            source.prepare(bundle.spec.preprocessing)
        return {
            "name": self._name,
            "card": bundle.card.to_json(),
            "preprocessing": bundle.spec.preprocessing.to_json(),
            "device": str(self._encoder.device),
            "datasets": {source.name: self._section(source) for source in self._sources},
        }

    def _section(self, source: Source) -> Section:
        test = self._features(source, "test")
        if not len(test):
            msg = (
                f'Expected cases to test in "{source.name}", found none. Put volumes into the split "test" of its '
                "manifest, or name the data set with --external to test all of it."
            )
            raise NoCasesError(msg)
        section: Section = {"cases": len(test), "patients": len(set(test.patients)), "notes": list(source.notes)}
        home = self._home(source)
        section["fitted_on"] = home.name if home is not None else None
        parts: dict[str, tuple[tuple[str, Callable[[Source], Section]], ...]] = {
            "zero-shot": (("zero_shot", self._zero_shot), ("quality", self._quality), ("pointing", self._pointing)),
            "probe": (("probes", self._probe_all),),
            "retrieval": (("retrieval", self._retrieval),),
            "reports": (("reports", self._reports),),
            "structures": (("structures", self._structures),),
        }
        chosen = [part for task in self._options.tasks for part in parts[task]]
        if self._options.calibrate and source is home:
            chosen.append(("calibration", self._calibrate))
        for key, measure in chosen:
            try:
                section[key] = measure(source)
            except NotApplicableError as reason:
                section[key] = {"not_done": str(reason)}
        return section

    def _features(self, source: Source, split: str) -> Features:
        key = (source.name, split)
        if key not in self._kept:
            described = f"{self._name}: {source.name}, {split}"

            def on_case(done: int, total: int) -> None:
                if self._on_case is not None:
                    self._on_case(described, done, total)

            outlined = self._options.outlined if "structures" in self._options.tasks else 0
            self._kept[key] = self._store.features(source, split, outlined=outlined, on_case=on_case)
        return self._kept[key]

    def _home(self, source: Source) -> Source | None:
        """The data set whose training and validation cases go with a data set's test."""
        own = (other for other in self._sources if not other.external)
        return source if not source.external else next(own, None)

    def _home_features(self, source: Source, split: str) -> Features | None:
        home = self._home(source)
        features = self._features(home, split) if home is not None else None
        return features if features is not None and len(features) else None

    def _labels(self, source: Source) -> LabelSet:
        names = {name for case in self._features(source, "test").cases for name in case.labels}
        try:
            return label_set(names)
        except ValueError as error:
            msg = f"No case under test is labelled. {error}"
            raise NotApplicableError(msg) from error

    def _predictions(self, features: Features, labels: LabelSet, scores: Floats) -> Predictions:
        """Probabilities (N, 18) and labels of cases, for the findings of a label set."""
        probabilities = labels.scores(scores)
        known = labels.labels([case.labels for case in features.cases])
        return Predictions(
            findings=labels.findings,
            ids=tuple(case.id for case in features.cases),
            patients=tuple(features.patients),
            probabilities=np.nan_to_num(probabilities),
            labels=np.where(np.isnan(probabilities), np.nan, known),
        )

    def _classified(self, source: Source, method: str, score: Callable[[Features], Floats]) -> Section:
        """Metrics of a way to score (N, 18) cases, with thresholds from validation cases."""
        labels, test = self._labels(source), self._features(source, "test")
        validation = self._home_features(source, "validation")
        held_out = None if validation is None else self._predictions(validation, labels, score(validation))
        predictions = self._predictions(test, labels, score(test))
        self.predictions[source.name, method] = predictions
        thresholds = metrics.best_thresholds(held_out, len(labels.findings))
        return {"labels": labels.name} | metrics.describe(predictions, thresholds, self._counts(test.patients))

    def _counts(self, patients: Sequence[str]) -> Floats:
        return resample_patients(patients, resamples=self._options.resamples)

    def _logits(self, features: Features, directions: Tensor) -> Floats:
        return margins(features.joint, directions, self._encoder.temperature)

    def _zero_shot(self, source: Source) -> Section:
        sets = [name for name in PROMPT_SETS if name != UNSEEN or source.has_reference]
        section = {}
        for name in sets:
            directions = bundle_directions(self._encoder.bundle, name)

            def score(features: Features, directions: Tensor = directions) -> Floats:
                return logistic(self._logits(features, directions))

            section[name] = self._classified(source, f"zero-shot {name}", score)
        return section

    def _judged(self, source: Source, labels: LabelSet, split: str) -> Judged:
        features = self._features(source, split)
        logits = self._logits(features, bundle_directions(self._encoder.bundle, ENGINE)) if len(features) else None
        known = labels.labels([case.labels for case in features.cases])
        return Judged(logits=np.empty((0, len(CT_RATE_CONCEPTS))) if logits is None else logits, labels=known)

    def _quality(self, source: Source) -> Section:
        labels = self._labels(source)
        return calibration.quality_of(
            self._judged(source, labels, "test"), labels, self._encoder.bundle.spec.calibration or {}
        )

    def _pointing(self, source: Source) -> Section:
        if not source.has_reference:
            msg = "This data set has no masks of findings."
            raise NotApplicableError(msg)
        test = self._features(source, "test")
        hits, counts = recorded_hits(test), self._counts(test.patients)
        rows = [
            {"name": concept.name, "focal": concept.focal} | mean_of_cases(hits[:, index], counts).to_json()
            for index, concept in enumerate(CT_RATE_CONCEPTS)
        ]
        return {"prompts": UNSEEN, "focal": mean_of_cases(hits[:, FOCAL], counts).to_json(), "findings": rows}

    def _probe_all(self, source: Source) -> Section:
        options = self._options.probe
        rows = {name: self._classified(source, f"probe {name}", self._probe(source, name)) for name in options.poolings}
        train = self._home_features(source, "train")
        return {"options": options.to_json(), "training_cases": len(train) if train else 0, "poolings": rows}

    def _probe(self, source: Source, pooling: str) -> Callable[[Features], Floats]:
        home, train = self._home(source), self._home_features(source, "train")
        if home is None or train is None:
            msg = "There are no training cases to fit a probe on."
            raise NotApplicableError(msg)
        key = (home.name, pooling)
        if key not in self._probes:
            self._probes[key] = self._fit_probe(home, train, pooling)
        return self._probes[key]

    def _fit_probe(self, home: Source, train: Features, pooling: str) -> Callable[[Features], Floats]:
        labels = self._labels(home)
        labelled = Labelled(features=train, labels=labels.labels([case.labels for case in train.cases]))
        both = (np.nansum(labelled.labels, axis=0) > 0) & (np.nansum(1 - labelled.labels, axis=0) > 0)
        if not both.any():
            msg = f"None of the {len(train)} training cases differ in a label, so there is nothing to fit."
            raise NotApplicableError(msg)
        held_out = self._home_features(home, "validation")
        validation = None
        if held_out is not None:
            known = labels.labels([case.labels for case in held_out.cases])
            validation = Labelled(features=held_out, labels=known)
        heads = self._encoder.bundle.spec.architecture.image.heads
        predict = train_probe(pooling, labelled, validation, self._options.probe, heads=heads)
        return lambda features: labels.spread(predict(features))

    def _retrieval(self, source: Source) -> Section:
        test = self._features(source, "test")
        rows = [index for index, case in enumerate(test.cases) if case.report is not None]
        if len(rows) < 2:
            msg = f"Retrieval needs at least two cases with a report, found {len(rows)}."
            raise NotApplicableError(msg)
        counts = self._counts([test.patients[index] for index in rows])
        return retrieval.describe(test.joint[rows], test.texts[rows], counts)

    def _reports(self, source: Source) -> Section:
        train = self._home_features(source, "train")
        return reports.evaluate(train, self._features(source, "test"), resamples=self._options.resamples)

    def _structures(self, source: Source) -> Section:
        spec, test = self._encoder.bundle.spec.structures, self._features(source, "test")
        rows = [index for index, record in enumerate(test.records) if "structures" in record]
        if spec is None or not rows:
            msg = "This data set has no masks of structures." if spec else "The bundle has no structure head."
            raise NotApplicableError(msg)
        counts = self._counts([test.patients[index] for index in rows])
        found = [test.records[index]["structures"] for index in rows]

        def mean(figure: str, *names: str) -> dict[str, float | None]:
            values = [[row.get(name, {}).get(figure, np.nan) for name in names] for row in found]
            return mean_of_cases(np.array(values, dtype=np.float64), counts).to_json()

        table = [{"name": name, "dice": mean("dice", name), "nsd": mean("nsd", name)} for name in spec.names]
        return {
            "cases": len(rows),
            "mean": {figure: mean(figure, *spec.names) for figure in ("dice", "nsd")},
            "structures": table,
        }

    def _calibrate(self, source: Source) -> Section:
        labels, bundle = self._labels(source), self._encoder.bundle
        validation = self._judged(source, labels, "validation")
        fitted = calibration.fit(validation, labels)
        if not fitted:
            msg = (
                f"No finding has {calibration.FEWEST} validation cases with it and as many without it among "
                f"{len(validation.labels)}, so nothing was calibrated and no copy of the bundle was written."
            )
            raise NotApplicableError(msg)
        section = calibration.describe(
            self._judged(source, labels, "test"), labels, bundle.spec.calibration or {}, fitted
        )
        folder = self._options.output / "calibrated" / self._name
        calibration.write_calibrated(bundle, fitted, folder)
        return {"validation_cases": len(validation.labels), "bundle": f"calibrated/{self._name}"} | section
