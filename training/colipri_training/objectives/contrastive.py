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
        own = own_places(count, encoded.image.device)
        excluded = excluded_pairs(batch.groups, own)
        losses = [
            F.cross_entropy((encoded.scale * rows @ gather_rows(columns).T + excluded), own, reduction="sum")
            for rows, columns in ((encoded.image, encoded.report), (encoded.report, encoded.image))
        ]
        return global_mean(torch.stack(losses).sum() / 2, count)


def excluded_pairs(groups: Tensor | None, own: Tensor) -> Tensor | float:
    """Minus infinity at the pairs of one group, the own one excepted: (B, global B).

    Args:
        groups: (B,) numbers of this process's volumes, as `Batch.groups`; None excludes nothing.
        own: (B,) their places in the global batch.
    """
    if groups is None:
        return 0.0
    everyone = gather_rows(groups)
    same = groups[:, None] == everyone
    same[torch.arange(len(own), device=own.device), own] = False
    return torch.zeros(same.shape, device=own.device).masked_fill(same, -torch.inf)


def own_places(count: int, device: torch.device) -> Tensor:
    """Places of this process's volumes in the global batch, (count,)."""
    return torch.arange(count, device=device) + world().rank * count
