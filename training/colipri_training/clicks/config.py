"""ClickConfig: everything that decides a training run of the interactive segmenter."""

from __future__ import annotations

import dataclasses
from typing import Any

from colipri_core.model.click_config import ClickNetworkConfig
from colipri_training.checks import LEAST_CONVOLVED


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClickConfig:
    """A run. All figures are our choice.

    Attributes:
        network: Sizes of the network.
        region: Edge of the training regions in voxels.
        shipped_region: Edge of the regions the exported model works on.
        batch_size: Regions of a step, each at another point of its conversation with the simulated user.
        longest: Largest number of prompts for one object.
        chest_share: Share of the objects that come from phantoms; the others are random shapes.
        project_share: Share of the objects that come from a label project, where there is one.
        steps: Steps of the whole run, unless it is bounded by time.
        learning_rate: Peak of AdamW's rate.
        warmup_steps: Steps in which the rate rises.
        weight_decay: Of AdamW.
        gradient_clip: Largest norm of the gradient.
        average: Decay of the moving average of the weights, which is what is exported.
        bf16: Whether the network computes in bfloat16, on hardware that does so natively.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations.
        validation_scenes: Held-out scenes.
        seed: Decides weights, scenes and prompts.
    """

    network: ClickNetworkConfig = dataclasses.field(default_factory=ClickNetworkConfig)
    region: int = 48
    shipped_region: int = 64
    batch_size: int = 8
    longest: int = 7
    chest_share: float = 0.3
    project_share: float = 0.0
    steps: int = 4000
    learning_rate: float = 1.2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    average: float = 0.998
    bf16: bool = True
    checkpoint_every: int = 200
    validate_every: int = 250
    validation_scenes: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse regions the network cannot halve, or whose deepest level is too small."""
        deepest, rest = divmod(self.region, self.network.stride)
        least = LEAST_CONVOLVED if self.bf16 else 1
        if rest or deepest < least:
            stride = self.network.stride
            msg = f"region must be a multiple of {stride} and at least {least * stride}, got {self.region}"
            raise ValueError(msg)

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be gone on with, as plain values."""
        free = {"steps", "checkpoint_every", "validate_every", "shipped_region"}
        values = dataclasses.asdict(self)
        return {name: _plain(value) for name, value in values.items() if name not in free}


def adapting() -> ClickConfig:
    """The run that adapts a trained model to a label project: short, gentle, half of it generated (our choice)."""
    return ClickConfig(
        steps=300,
        learning_rate=2e-4,
        warmup_steps=20,
        project_share=0.5,
        average=0.98,
        validate_every=100,
        validation_scenes=16,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value
