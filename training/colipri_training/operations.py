"""Counting floating-point operations of a piece of work, on tensors of any device, the meta device included."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def count(work: Callable[[], object]) -> int:
    """Operations of matrix products, convolutions and attention in a piece of work, without gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
