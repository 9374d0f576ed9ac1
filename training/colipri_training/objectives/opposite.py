"""OppositeSentences: a volume must lie nearer to the true one of a sentence and its opposite."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_training.data.batch import Batch
from colipri_training.distributed import global_mean
from colipri_training.objectives.encoded import Encoded

_PRESENT_WEIGHT = 2.5
"""A finding that is there weighs more than one that is not, since most are not (our choice)."""


class OppositeSentences:
    """The present/absent softmax of zero-shot classification as a loss.

    L = weighted mean over volumes i, known findings k and sentence pairs of
    softplus(-(2 y_ik - 1) s v_i.(t_k+ - t_k-)).
    COLIPRI's abstract names an opposite-sentence loss; this form follows a public re-implementation. Unlike it, every
    finding of the list is asked of every volume (our choice: phantoms know all their labels).
    """

    name = "opposite"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar."""
        assert encoded.affirming is not None
        assert encoded.denying is not None
        direction = encoded.affirming - encoded.denying
        logits = encoded.scale * torch.einsum("be,pfe->bpf", encoded.image, direction)
        sign = 2 * batch.findings.float() - 1
        losses = F.softplus(-sign[:, None] * logits).mean(dim=1)
        weight = (batch.findings >= 0) * torch.where(batch.findings == 1, _PRESENT_WEIGHT, 1.0)
        return global_mean((losses * weight).sum(), weight.sum())
