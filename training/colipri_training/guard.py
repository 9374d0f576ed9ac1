"""GradientGuard: leaves out steps whose gradient is not finite, and ends a run that has nothing else."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

MOST_SKIPPED = 10
"""Steps in a row that may be left out (our choice)."""


class GradientGuard:
    """Counts the steps in a row that were left out.

    Attributes:
        skipped: That number; part of a checkpoint.
    """

    def __init__(self) -> None:
        self.skipped = 0

    def passes(self, norm: Tensor, step: int) -> bool:
        """Whether a gradient can be used.

        Args:
            norm: Its norm.
            step: Steps made so far, for the messages.

        Raises:
            FloatingPointError: If too many in a row could not.
        """
        if torch.isfinite(norm):
            self.skipped = 0
            return True
        self.skipped += 1
        logger.warning("The gradient is not finite after %d steps; this one changes nothing.", step)
        if self.skipped > MOST_SKIPPED:
            msg = f"The gradient was not finite {self.skipped} times in a row, up to step {step}."
            raise FloatingPointError(msg)
        return False
