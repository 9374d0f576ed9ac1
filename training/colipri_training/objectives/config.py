"""LossConfig: the objectives of a run of COLIPRI and their weights; ReconstructionConfig: one of them in detail."""

from __future__ import annotations

import dataclasses
import math

from colipri_core.model.config import later
from colipri_training.checks import at_least
from colipri_training.checks import expect


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the objectives; 0 leaves one out. All are our choice.

    Args:
        contrastive: Symmetric image-report contrast.
        opposite: Opposite-sentence loss on pooled image vectors.
        region: The opposite-sentence loss on single tokens, told by the lesion masks where the sentence holds.
        attention: Share of the pooler's attention that goes to tokens which show a finding, told by the masks.
        report: Next word pieces of the report, by a decoder that sees the patch tokens.
        reconstruction: Hidden patches from visible ones.
        distinct: Keeps the directions of the findings apart, on the text side.
        temperature: Initial temperature; learned.
    """

    contrastive: float = 1.0
    opposite: float = 1.0
    region: float = 1.0
    attention: float = 0.2
    report: float = 0.0
    reconstruction: float = 0.0
    distinct: float = later(0.0)
    temperature: float = 0.07

    def __post_init__(self) -> None:
        """Refuse weights and temperatures that are none, and a run that learns nothing."""
        weights = [field.name for field in dataclasses.fields(self) if field.name != "temperature"]
        at_least(self, 0, *weights)
        expect("one of the weights", 0, "above 0", fits=any(getattr(self, name) for name in weights))
        expect("temperature", self.temperature, "above 0, and finite", fits=0 < self.temperature < math.inf)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """Masked autoencoding: what is hidden, and the light decoder, which is not shipped.

    The ratio, the depth and the plain target follow the public Primus masked autoencoder; the rest is our choice.

    Args:
        mask_ratio: Share of the tokens that are hidden from the encoder.
        width: Channels of a token in the decoder; `width / heads` must be a multiple of 6.
        depth: Blocks.
        heads: Attention heads.
        normalise: Whether the target is each patch less its mean, over its standard deviation.
        paired: Whether volumes with a report are reconstructed too, not only those without.
    """

    mask_ratio: float = 0.75
    width: int = 432
    depth: int = 2
    heads: int = 6
    normalise: bool = False
    paired: bool = True

    def __post_init__(self) -> None:
        """Refuse a ratio that leaves nothing to see or nothing to do."""
        if not 0 < self.mask_ratio < 1:
            msg = f"mask_ratio must lie between 0 and 1, got {self.mask_ratio}"
            raise ValueError(msg)

    def hidden_of(self, tokens: int) -> int:
        """How many of a volume's tokens are hidden from the encoder."""
        return round(self.mask_ratio * tokens)
