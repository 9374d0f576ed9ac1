"""Seeds of torch's streams of randomness that no two steps, processes or parts of a batch share."""

from __future__ import annotations

import numpy as np


def mixed(*numbers: int) -> int:
    """Mix numbers into one seed: the generator of the CPU looks at its lowest 32 bits alone, so each must change those.

    Args:
        numbers: What tells a stream from others, each at least 0, such as (seed, step, rank).
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
