"""Percentile bootstrap over cases, with the same resamples for every metric."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000


def confidence_interval(
    metric: Callable[[npt.NDArray[np.intp]], float], cases: int, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of a metric over resampled cases.

    Args:
        metric: Takes the indices of a resample and returns the metric; NaN leaves the resample out.
        cases: Number of cases.
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Returns:
        The 2.5th and the 97.5th percentile.
    """
    rng = np.random.default_rng(seed)
    values = np.array([metric(rng.integers(0, cases, size=cases)) for _ in range(resamples)])
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
