"""Percentile bootstrap over patients: the same resamples for every metric and model, so comparisons are paired.

A resample is kept as the number of times it draws each case. A metric that takes such counts as weights is then
computed for all resamples at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
"""Resamples of an interval (our choice)."""

Counts = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval; NaN where it is not defined.

    Args:
        value: On the cases as they are.
        low: 2.5th percentile over the resamples.
        high: 97.5th percentile.
    """

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Return plain values, None for what is not defined."""
        return {name: plain(value) for name, value in dataclasses.asdict(self).items()}


def resample_patients(patients: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES) -> Counts:
    """Draw patients with replacement; whoever is drawn comes with all their cases.

    Args:
        patients: Whose each case is.
        seed: Seed of the resamples.
        resamples: How many.

    Returns:
        (R, N) times each resample holds each case.

    Raises:
        ValueError: If there are no cases.
    """
    if not patients:
        msg = "A bootstrap needs at least one case, got none."
        raise ValueError(msg)
    names, owner = np.unique(np.asarray(list(patients)), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return drawn[:, owner].astype(np.float64)


def estimate(value: float, resampled: npt.NDArray[np.float64]) -> Estimate:
    """Join a figure with its percentile interval.

    Args:
        value: On the cases as they are.
        resampled: (R,) on each resample; NaN leaves a resample out.
    """
    known = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not known.size:
        return Estimate(value=value, low=math.nan, high=math.nan)
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value=float(value), low=float(low), high=float(high))


def mean_of_cases(values: npt.NDArray[np.float64], counts: Counts) -> Estimate:
    """Mean over cases, with its interval; NaN leaves a case out.

    Args:
        values: (N,) or (N, K); one figure a case, or several.
        counts: (R, N) from `resample_patients`.
    """
    table = values.reshape(len(values), -1)
    known = ~np.isnan(table)
    if not known.any():
        return Estimate(value=math.nan, low=math.nan, high=math.nan)
    filled = np.where(known, table, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = (counts @ filled) / (counts @ known.sum(axis=1))
    return estimate(float(filled.sum() / known.sum()), resampled)


def plain(value: float) -> float | None:
    """Round for a document; None for NaN, which JSON does not know."""
    return None if math.isnan(value) else round(float(value), 5)
