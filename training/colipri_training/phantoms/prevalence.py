"""Which findings a phantom has: prevalences, mild correlations, and the share of normal cases."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from colipri_training.phantoms.fields import stream

NORMAL_SHARE = 0.10
PREVALENCE: tuple[float, ...] = (
    0.20, 0.32, 0.22, 0.17, 0.30, 0.20, 0.26, 0.24, 0.30, 0.38, 0.34, 0.28, 0.25, 0.17, 0.20, 0.24, 0.20, 0.20,
)  # fmt: skip
"""Probability of each finding in CT-RATE order, before the normal cases are set aside (our choice)."""

_GROUPS: tuple[tuple[int, ...], ...] = ((1, 2, 3, 4, 12, 17), (7, 13, 14, 16), (6, 8, 10, 12, 15), (5, 9, 11))
_SHARED_VARIANCE = 0.25


def draw_presence(seed: int) -> frozenset[int]:
    """Return the findings of phantom `seed`: a Gaussian copula that ties cardiac, airway and infectious findings."""
    rng = stream(seed, "presence")
    if rng.random() < NORMAL_SHARE:
        return frozenset()
    shared = rng.standard_normal(len(_GROUPS))
    own = rng.standard_normal(len(PREVALENCE))
    present = set()
    for finding, prevalence in enumerate(PREVALENCE):
        groups = [index for index, group in enumerate(_GROUPS) if finding in group]
        common = shared[groups].sum() / np.sqrt(len(groups)) if groups else own[finding]
        weight = _SHARED_VARIANCE if groups else 0.0
        latent = np.sqrt(weight) * common + np.sqrt(1 - weight) * own[finding]
        if latent < NormalDist().inv_cdf(prevalence):
            present.add(finding)
    return frozenset(present)
