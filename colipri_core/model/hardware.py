"""What the hardware that a model runs on can do."""

from __future__ import annotations

import torch


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = getattr(torch.cpu, "get_capabilities", None)  # absent from older torch: then float32 it is
        features = capabilities() if capabilities is not None else {}
        return bool(features.get("avx512_bf16") or features.get("amx_tile") or features.get("amx_bf16"))
    return False
