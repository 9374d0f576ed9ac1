"""Which labelled cases are learned from, and which are held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colipri_core.project_labels import LabelledCase

_FEWEST = 3
"""Cases from which on at least one is held out (our choice)."""


def held_out(
    cases: Sequence[LabelledCase], *, share: float, seed: int
) -> tuple[list[LabelledCase], list[LabelledCase]]:
    """Split cases into those to learn from and those to judge by; fewer than three are all learned from.

    Args:
        cases: The labelled cases.
        share: Of the cases to hold out; 0 holds none out.
        seed: Decides which.
    """
    count = round(share * len(cases))
    if share and len(cases) >= _FEWEST:
        count = max(1, count)
    order = np.random.default_rng([seed, 5]).permutation(len(cases))
    judged = set(order[: min(count, len(cases) - 1)].tolist())
    return (
        [case for index, case in enumerate(cases) if index not in judged],
        [case for index, case in enumerate(cases) if index in judged],
    )
