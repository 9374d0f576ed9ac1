"""Optimisers of a pretraining and the course of their learning rates."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import nn

from colipri_core.model.stem import STEM_SEES
from colipri_training.config import OptimizerConfig

_MUON_DECAY = 0.01
_POLY_EXPONENT = 0.9
_FLOOR = 0.01


def schedule(step: int, config: OptimizerConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then cosine decay to a hundredth, or polynomial to nothing."""
    warmup = max(1, round(config.warmup * config.steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(1, config.steps - warmup), 1.0)
    if config.decay == "poly":
        return (1 - progress) ** _POLY_EXPONENT
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizers(network: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """AdamW, with Muon beside it for the matrices of the image encoder's blocks if the config wants that.

    Matrices and kernels decay; everything with one axis or none (norms, biases, LayerScale, the temperature) does not.

    Args:
        network: What is trained.
        config: Rates and decay.

    Returns:
        Optimisers whose groups hold their peak learning rate as `peak`.
    """
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    hidden = [value for name, value in named.items() if config.matrix_learning_rate and _in_block(name, value)]
    taken = set(map(id, hidden))
    rest = {name: value for name, value in named.items() if id(value) not in taken}
    groups = []
    shares = {"text": config.text_share, "stem": config.stem_share, "trunk": config.trunk_share, "rest": 1.0}
    for part, share in shares.items():
        for matrix, decay in ((True, config.weight_decay), (False, 0.0)):
            values = [value for name, value in rest.items() if _part(name) == part and (value.ndim > 1) is matrix]
            groups.append({"params": values, "weight_decay": decay, "lr": share * config.learning_rate})
    filled = [group for group in groups if group["params"]]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(filled, lr=config.learning_rate, betas=config.betas),
    ]
    if hidden:
        rate = config.trunk_share * config.matrix_learning_rate
        optimizers.append(torch.optim.Muon(hidden, lr=rate, weight_decay=_MUON_DECAY))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def update(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Make one step of every optimiser at a share of its peak learning rates."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = share * group["peak"]
        optimizer.step()


def _part(name: str) -> str:
    """Which learning rate a parameter has: of the text encoder, of what a stem sees, of the trunk, or of the rest."""
    if "text_encoder." in name:
        return "text"
    if any(f".stem.{seen}." in name for seen in STEM_SEES):
        return "stem"
    return "trunk" if ".backbone." in name and ".recall." not in name else "rest"


def _in_block(name: str, value: Tensor) -> bool:
    return value.ndim == 2 and ".blocks." in name
