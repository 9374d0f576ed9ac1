"""In what precision a training computes: bfloat16 where the hardware multiplies it natively, float32 elsewhere.

Emulated it is far slower than float32: a step of the interactive segmenter takes 25 times as long on a processor with
AVX2 alone. So what a run computes is a function of its config and of the kind of processor.
"""

from __future__ import annotations

import torch

from colipri_core.model.hardware import has_fast_bfloat16

CPU = torch.device("cpu")


def native_bfloat16(device: torch.device = CPU, *, wanted: bool = True) -> torch.autocast:
    """Return the context in which matrix products run in bfloat16, where that is native.

    Args:
        device: Where they run.
        wanted: Whether a config asks for it; if not, they run in float32 everywhere.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_fast_bfloat16(device))
