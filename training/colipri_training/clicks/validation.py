"""Validation: Dice after one, three and five prompts on held-out scenes."""

from __future__ import annotations

import dataclasses

import torch

from colipri_core.model.click_network import ClickNetwork
from colipri_training.clicks.config import ClickConfig
from colipri_training.clicks.episodes import HELD_OUT
from colipri_training.clicks.episodes import Episodes
from colipri_training.clicks.episodes import SceneSource
from colipri_training.precision import native_bfloat16

PROMPTS = (1, 3, 5)


@torch.no_grad()
def validate(
    network: ClickNetwork, config: ClickConfig, *, device: torch.device, source: SceneSource | None = None
) -> dict[str, float]:
    """Return mean Dice by number of prompts, as `dice_after_1` and so on.

    Args:
        network: In evaluation mode.
        config: The run; the scenes depend on its seed and `validation_scenes` alone.
        device: Where the network is.
        source: Draws all scenes, in place of the generators.
    """
    total = dict.fromkeys(PROMPTS, 0.0)
    batches = max(1, config.validation_scenes // config.batch_size)
    # No episode may end before the last count is taken.
    endless = dataclasses.replace(config, longest=1_000_000_000, project_share=1.0)
    for batch in range(batches):
        episodes = Episodes(endless, first=HELD_OUT + batch * config.batch_size, source=source)
        for prompts in range(1, max(PROMPTS) + 1):
            with native_bfloat16(device, wanted=config.bf16):
                logits = network(episodes.hu.to(device), episodes.hints.to(device))
            shown = (logits > 0).cpu()
            if prompts in PROMPTS:
                total[prompts] += mean_dice(shown, episodes.targets > 0)
            episodes.advance(shown)
    return {f"dice_after_{prompts}": round(value / batches, 4) for prompts, value in total.items()}


def mean_dice(shown: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean Dice of bool masks (B, 1, X, Y, Z)."""
    common = (shown & targets).flatten(1).sum(dim=1)
    total = shown.flatten(1).sum(dim=1) + targets.flatten(1).sum(dim=1)
    return float((2 * common / total.clamp(min=1)).mean())
