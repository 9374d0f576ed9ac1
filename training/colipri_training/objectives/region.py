"""RegionSentences: the opposite-sentence loss on single tokens, where lesion masks are known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_training.data.batch import Batch
from colipri_training.distributed import global_mean
from colipri_training.objectives.encoded import Encoded

_HARD_SHARE = 0.04
"""Share of a volume's tokens that count as its hardest negatives (our choice)."""


class RegionSentences:
    """A token that shows a finding must lie nearer to its sentence, any other token nearer to the opposite.

    The tokens are those of the dense map (the value path of the pooler), so the evidence map is what is trained.
    Positive and negative tokens of a finding weigh the same, however few the positive ones are. Half of the negative
    weight goes to the hardest tokens of each volume: without that the loss is content with where a finding usually
    lies, and never learns what it looks like. Not part of the published system: our choice for phantoms, whose masks
    come for free.
    """

    name = "region"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar."""
        assert encoded.tokens is not None
        assert encoded.affirming is not None
        assert encoded.denying is not None
        direction = (encoded.affirming - encoded.denying).mean(dim=0)
        logits = encoded.scale * torch.einsum("bke,fe->bfk", encoded.tokens, direction)
        shown = self._mean(F.softplus(-logits), batch.regions == 1)
        losses = F.softplus(logits).masked_fill(batch.regions != 0, 0.0)
        hardest = losses.topk(max(1, round(_HARD_SHARE * losses.shape[2])), dim=2).values.mean(dim=2)
        hidden = (self._mean(losses, batch.regions == 0) + global_mean(hardest.sum(), hardest.numel())) / 2
        return (shown + hidden) / 2

    @staticmethod
    def _mean(losses: Tensor, where: Tensor) -> Tensor:
        """Mean over the tokens of a volume and finding, then over those that have any."""
        counts = where.sum(dim=2)
        means = (losses * where).sum(dim=2) / counts.clamp(min=1)
        return global_mean(means.sum(), (counts > 0).sum())
