"""Contrastive: symmetric InfoNCE between volumes and their reports (Radford et al., 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_training.data.batch import Batch
from colipri_training.distributed import gather_rows
from colipri_training.distributed import global_mean
from colipri_training.distributed import world
from colipri_training.objectives.encoded import Encoded


class Contrastive:
    """Each volume against all reports of the global batch, and each report against all volumes.

    With v, t unit vectors and s the learned inverse temperature:
    L = 1/(2B) sum_i [ -log softmax_j(s v_i.t_j)[i] - log softmax_j(s t_i.v_j)[i] ].
    Negatives come from all processes, with gradient. Pairs of the same group (`Batch.groups`) are no negatives.
    """

    name = "contrastive"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar."""
        count = len(encoded.image)
        own = torch.arange(count, device=encoded.image.device) + world().rank * count
        excluded = self._excluded(batch, own)
        losses = [
            F.cross_entropy((encoded.scale * rows @ gather_rows(columns).T + excluded), own, reduction="sum")
            for rows, columns in ((encoded.image, encoded.report), (encoded.report, encoded.image))
        ]
        return global_mean(torch.stack(losses).sum() / 2, count)

    @staticmethod
    def _excluded(batch: Batch, own: Tensor) -> Tensor | float:
        """Minus infinity at the pairs of one group, the own one excepted: (B, global B)."""
        if batch.groups is None:
            return 0.0
        everyone = gather_rows(batch.groups)
        same = batch.groups[:, None] == everyone
        same[torch.arange(len(own), device=own.device), own] = False
        return torch.zeros(same.shape, device=own.device).masked_fill(same, -torch.inf)
