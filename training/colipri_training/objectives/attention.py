"""RegionAttention: the pooler must look at the tokens that show a finding."""

from __future__ import annotations

from torch import Tensor

from colipri_training.data.batch import Batch
from colipri_training.distributed import global_mean
from colipri_training.objectives.encoded import Encoded

_SMALLEST_SHARE = 1e-6


class RegionAttention:
    """Every finding of a volume must make up a share of the pooled vector, however few tokens show it.

    L = mean over volumes and their findings f of -log sum over the tokens i that show f of a_i, with a the pooler's
    attention averaged over its heads. Without it a short run leaves the attention even, and a small lesion is lost in
    the mean. Not part of the published system: our choice for phantoms, whose masks come for free.
    """

    name = "attention"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar."""
        assert encoded.attention is not None
        shown = batch.regions == 1
        share = (encoded.attention[:, None] * shown).sum(dim=2).clamp(min=_SMALLEST_SHARE)
        present = shown.any(dim=2)
        return global_mean(-(share.log() * present).sum(), present.sum())
