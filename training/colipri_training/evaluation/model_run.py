"""Everything one bundle is measured on, data set by data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from colipri_training.evaluation import reports
from colipri_training.evaluation import retrieval
from colipri_training.evaluation.bench import Bench
from colipri_training.evaluation.bootstrap import mean_of_cases
from colipri_training.evaluation.cases import Source
from colipri_training.evaluation.classification import Classification
from colipri_training.evaluation.errors import NoCasesError
from colipri_training.evaluation.errors import NotApplicableError
from colipri_training.evaluation.metrics import Predictions

Section = dict[str, Any]
Measure = Callable[[Source], Section]


class ModelRun:
    """One bundle on all its data sets.

    Args:
        bench: The bundle and the data sets.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._classification = Classification(bench)

    @property
    def predictions(self) -> dict[tuple[str, str], Predictions]:
        """(data set, method) -> probabilities and labels of the cases under test."""
        return self._classification.predictions

    def evaluate(self) -> Section:
        """Return all figures as plain values, by data set.

        Raises:
            NoCasesError: If a data set has no cases to test.
            PreparedDataError: If a data set was prepared for another grid.
        """
        encoder = self._bench.encoder
        for source in self._bench.sources:
            source.check(encoder.bundle.spec.preprocessing)
        return {
            "name": self._bench.name,
            "card": encoder.bundle.card.to_json(),
            "preprocessing": encoder.bundle.spec.preprocessing.to_json(),
            "device": str(encoder.device),
            "datasets": {source.name: self._section(source) for source in self._bench.sources},
        }

    def _section(self, source: Source) -> Section:
        test = self._bench.features(source, "test")
        if not len(test):
            msg = (
                f'Expected cases to test in "{source.name}", found none. Put volumes into the split "test" of its '
                "manifest, or name the data set with --external to test all of it."
            )
            raise NoCasesError(msg)
        home = self._bench.home(source)
        section: Section = {
            "cases": len(test),
            "patients": len(set(test.patients)),
            "notes": list(source.notes),
            "fitted_on": home.name if home is not None else None,
        }
        for key, measure in self._parts(calibrate=self._bench.options.calibrate and source is home):
            try:
                section[key] = measure(source)
            except NotApplicableError as reason:
                section[key] = {"not_done": str(reason)}
        return section

    def _parts(self, *, calibrate: bool) -> list[tuple[str, Measure]]:
        """What is measured of a data set: the key in its section, and how."""
        findings = self._classification
        parts: dict[str, list[tuple[str, Measure]]] = {
            "zero-shot": [
                ("zero_shot", findings.zero_shot),
                ("quality", findings.quality),
                ("pointing", findings.pointing),
            ],
            "probe": [("probes", findings.probes)],
            "retrieval": [("retrieval", self._retrieval)],
            "reports": [("reports", self._reports)],
            "structures": [("structures", self._structures)],
        }
        chosen = [part for task in self._bench.options.tasks for part in parts[task]]
        return [*chosen, ("calibration", findings.calibrate)] if calibrate else chosen

    def _retrieval(self, source: Source) -> Section:
        test = self._bench.features(source, "test")
        rows = [index for index, case in enumerate(test.cases) if case.report is not None]
        if len(rows) < 2:
            msg = f"Retrieval needs at least two cases with a report, found {len(rows)}."
            raise NotApplicableError(msg)
        counts = self._bench.counts([test.patients[index] for index in rows])
        return retrieval.describe(test.joint[rows], test.texts[rows], counts)

    def _reports(self, source: Source) -> Section:
        train, test = self._bench.home_features(source, "train"), self._bench.features(source, "test")
        return reports.evaluate(train, test, resamples=self._bench.options.resamples)

    def _structures(self, source: Source) -> Section:
        spec, test = self._bench.encoder.bundle.spec.structures, self._bench.features(source, "test")
        rows = [index for index, record in enumerate(test.records) if "structures" in record]
        if spec is None or not rows:
            msg = "The bundle has no structure head." if spec is None else "This data set has no masks of structures."
            raise NotApplicableError(msg)
        counts = self._bench.counts([test.patients[index] for index in rows])
        found = [test.records[index]["structures"] for index in rows]

        def mean(figure: str, *names: str) -> dict[str, float | None]:
            values = [[row.get(name, {}).get(figure, np.nan) for name in names] for row in found]
            return mean_of_cases(np.array(values, dtype=np.float64), counts).to_json()

        table = [{"name": name, "dice": mean("dice", name), "nsd": mean("nsd", name)} for name in spec.names]
        means = {figure: mean(figure, *spec.names) for figure in ("dice", "nsd")}
        return {"cases": len(rows), "mean": means, "structures": table}
