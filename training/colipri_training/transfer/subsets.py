"""Few-shot subsets: seeded and nested, so that the 10 % of the cases hold the 1 %."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def few_shot(cases: Sequence[int], fraction: float, *, seed: int) -> tuple[int, ...]:
    """Choose a share of the training cases.

    Args:
        cases: All of them.
        fraction: Share in (0, 1], rounded up: at least one case is chosen.
        seed: Decides the order; the same seed chooses the same first cases at every fraction.

    Returns:
        The chosen cases, in the order of the draw.

    Raises:
        ValueError: If there are no cases, or the fraction is not in (0, 1].
    """
    if not cases or not 0 < fraction <= 1:
        msg = f"few_shot needs cases and a fraction in (0, 1], got {len(cases)} cases and {fraction}."
        raise ValueError(msg)
    order = np.random.default_rng([seed, 41]).permutation(len(cases))
    number = math.ceil(round(fraction * len(cases), 6))
    return tuple(cases[index] for index in order[:number])
