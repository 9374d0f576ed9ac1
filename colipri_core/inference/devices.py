"""Which device and which precision a model runs in, and what the machine can do."""

from __future__ import annotations

import logging
import os

import torch

from colipri_core.model.config import ModelConfig
from colipri_core.model.hardware import has_fast_bfloat16

logger = logging.getLogger(__name__)

BF16_MIN_BLOCK_WEIGHTS = 50_000_000
"""Image encoders below this many block weights stay in float32: they are fast enough, and exact (our choice)."""

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def choose_device(wanted: str = "auto") -> torch.device:
    """Return the device to run on, after a small computation there has succeeded.

    Args:
        wanted: "auto" (CUDA, then MPS, then CPU), or a device torch knows.

    Raises:
        ValueError: If the device is unknown to torch or not usable on this machine.
    """
    if wanted != "auto":
        device = _parse(wanted)
        problem = probe(device)
        if problem:
            msg = f'Device "{wanted}" cannot be used here: {problem}. Usable: {", ".join(usable_devices())}, or "auto".'
            raise ValueError(msg)
        return device
    for name in ("cuda:0", "mps"):
        device = torch.device(name)
        if _is_present(device):
            problem = probe(device)
            if not problem:
                return device
            logger.warning("The device %s is present but failed a small computation (%s); not using it", name, problem)
    return torch.device("cpu")


def usable_devices() -> list[str]:
    """Return the devices that pass the probe, the fastest first."""
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    names += ["mps"] if _is_present(torch.device("mps")) else []
    return [name for name in names if not probe(torch.device(name))] + ["cpu"]


def probe(device: torch.device) -> str:
    """Run a small convolution and product; return why it failed, or an empty string."""
    if device.type == "cpu":
        return ""
    if not _is_present(device):
        return "torch does not see it"
    try:
        image = torch.ones(1, 1, 8, 8, 8, device=device)
        tokens = torch.nn.functional.conv3d(image, torch.ones(4, 1, 4, 4, 4, device=device), stride=4).flatten(2)
        total = float((tokens @ tokens.transpose(1, 2)).sum().cpu())
    except (RuntimeError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    expected = 4 * 4 * 8 * 64.0**2
    return "" if total == expected else f"it computed {total} instead of {expected}"


def choose_precision(config: ModelConfig, device: torch.device) -> torch.dtype:
    """Return the floating type the image encoder's blocks run in.

    COLIPRI_PRECISION ("fp32" or "bf16") decides where it is set. Otherwise small encoders run in float32, and encoders
    of the published size in bfloat16 where the hardware has instructions for it: pooled embeddings agree to a cosine
    of 0.9999 and better, and the encoding takes a fifth less time on a CPU.

    Args:
        config: Sizes of the model.
        device: Where it runs.

    Raises:
        ValueError: If COLIPRI_PRECISION has another value.
    """
    wanted = os.environ.get("COLIPRI_PRECISION", "")
    if wanted:
        if wanted not in _PRECISIONS:
            msg = f'COLIPRI_PRECISION must be "fp32" or "bf16", got "{wanted}". Correct it or unset it.'
            raise ValueError(msg)
        return _PRECISIONS[wanted]
    image = config.image
    block_weights = image.depth * (4 * image.width**2 + 3 * image.width * image.hidden)
    large = block_weights >= BF16_MIN_BLOCK_WEIGHTS
    return torch.bfloat16 if large and has_fast_bfloat16(device) else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory is exhausted (MPS has no type of its own for it)."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def _parse(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        msg = f'Expected a device such as "auto", "cpu", "cuda", "cuda:1" or "mps", got "{name}".'
        raise ValueError(msg) from error
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def _is_present(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"
