"""Contrastive: symmetric InfoNCE between volumes and their reports (Radford et al., 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_training.data.batches import Batch
from colipri_training.objectives.encoded import Encoded


class Contrastive:
    """Each volume against all reports of the batch, and each report against all volumes.

    With v, t unit vectors and s the learned inverse temperature:
    L = 1/(2B) sum_i [ -log softmax_j(s v_i.t_j)[i] - log softmax_j(s t_i.v_j)[i] ].
    """

    name = "contrastive"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar."""
        del batch
        logits = encoded.scale * encoded.image @ encoded.report.T
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
