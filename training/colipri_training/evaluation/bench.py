"""One bundle and the data sets it is measured on: features by data set and split, each computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from colipri_training.evaluation.bootstrap import RESAMPLES
from colipri_training.evaluation.bootstrap import Counts
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.cases import Source
from colipri_training.evaluation.encoder import Encoder
from colipri_training.evaluation.errors import NotApplicableError
from colipri_training.evaluation.features import Features
from colipri_training.evaluation.features import FeatureStore
from colipri_training.evaluation.label_sets import LabelSet
from colipri_training.evaluation.label_sets import label_set
from colipri_training.evaluation.probes import ProbeOptions

TASKS = ("zero-shot", "probe", "retrieval", "reports", "structures")
OUTLINED = 50
"""Cases whose outlines are compared with the reference (our choice): surfaces take a second a case and more."""

OnCase = Callable[[str, int, int], None]
"""Told what is being done, with how many cases, and with how many it will be."""


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


class Bench:
    """A bundle with its data sets.

    Args:
        encoder: The bundle.
        name: What it is called in the results.
        sources: The data sets; those that are external take thresholds, probes and baselines from the first that is
            not.
        options: What is measured.
        on_case: Told of the progress of encoding.

    Attributes:
        encoder, name, sources, options: As given.
    """

    def __init__(
        self, encoder: Encoder, name: str, sources: Sequence[Source], options: RunOptions, on_case: OnCase | None = None
    ) -> None:
        self.encoder = encoder
        self.name = name
        self.sources = tuple(sources)
        self.options = options
        self._on_case = on_case
        self._store = FeatureStore(encoder, options.output / "features")
        self._kept: dict[tuple[str, str], Features] = {}

    def features(self, source: Source, split: str) -> Features:
        """Return the features of a split of a data set."""
        key = (source.name, split)
        if key not in self._kept:
            spec = self.encoder.bundle.spec.preprocessing
            cases = source.cases(split, spec, partial(self._tell, f"{source.name}, {split}: made"))
            outlined = self.options.outlined if "structures" in self.options.tasks else 0
            encoded = partial(self._tell, f"{source.name}, {split}: encoded by {self.name}")
            self._kept[key] = self._store.features(source, cases, outlined=outlined, on_case=encoded)
        return self._kept[key]

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._on_case is not None:
            self._on_case(what, done, total)

    def home(self, source: Source) -> Source | None:
        """Return the data set whose training and validation cases go with a data set's test; None if there is none."""
        own = (other for other in self.sources if not other.external)
        return source if not source.external else next(own, None)

    def home_features(self, source: Source, split: str) -> Features | None:
        """Return the features of a split of a data set's home; None if it has no such cases."""
        home = self.home(source)
        features = self.features(home, split) if home is not None else None
        return features if features is not None and len(features) else None

    def labels(self, source: Source) -> LabelSet:
        """Return which findings the cases under test are labelled for.

        Raises:
            NotApplicableError: If they have no labels.
        """
        names = {name for case in self.features(source, "test").cases for name in case.labels}
        try:
            return label_set(names)
        except ValueError as error:
            msg = f"No case under test is labelled. {error}"
            raise NotApplicableError(msg) from error

    def counts(self, patients: Sequence[str]) -> Counts:
        """Return the resamples of cases of these patients."""
        return resample_patients(patients, resamples=self.options.resamples)


def known_labels(features: Features, labels: LabelSet) -> npt.NDArray[np.float64]:
    """Return the labels (N, F) of cases: 1 present, 0 absent, NaN unknown."""
    return labels.labels([case.labels for case in features.cases])
