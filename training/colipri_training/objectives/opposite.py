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

    L = mean over volumes i and their sentences k of softplus(-(2 y_ik - 1) s v_i.(t_k+ - t_k-)), y_ik = 1 where the
    sentence is true of the volume and 0 where its opposite is. COLIPRI's abstract names an opposite-sentence loss; this
    form follows a public re-implementation: the sentences are those of the volume's own report that affirm a finding,
    and what other reports affirm of findings that it lacks (`data.sentences.draw_pairs`).

    Phantoms know all their labels, so there every finding of the list is asked of every volume instead, in sentence
    pairs that all volumes share (our choice).
    """

    name = "opposite"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar."""
        if batch.holds is not None:
            return self._of_statements(batch.holds, encoded)
        assert encoded.affirming is not None
        assert encoded.denying is not None
        direction = encoded.affirming - encoded.denying
        logits = encoded.scale * torch.einsum("be,pfe->bpf", encoded.image, direction)
        sign = 2 * batch.findings.float() - 1
        losses = F.softplus(-sign[:, None] * logits).mean(dim=1)
        weight = (batch.findings >= 0) * torch.where(batch.findings == 1, _PRESENT_WEIGHT, 1.0)
        return global_mean((losses * weight).sum(), weight.sum())

    @staticmethod
    def _of_statements(holds: Tensor, encoded: Encoded) -> Tensor:
        assert encoded.opposition is not None
        logits = encoded.scale * torch.einsum("be,bse->bs", encoded.image, encoded.opposition)
        known = holds >= 0
        losses = F.softplus(-(2 * holds.float() - 1) * logits)
        return global_mean((losses * known).sum(), known.sum())
