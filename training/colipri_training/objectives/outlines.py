"""Outlining of structures of very unequal size: soft Dice, and cross-entropy that weighs the small ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SMOOTH = 1.0


def outline_loss(logits_BKXYZ: Tensor, labels_BXYZ: Tensor) -> Tensor:
    """Return soft Dice loss plus weighted cross-entropy, a scalar with its gradient.

    Dice sums over the batch and is the mean of the classes that are in it (Isensee et al., "nnU-Net", 2021: batch
    Dice). It alone says little for a class to which the model gives nearly no probability: there the gradient of the
    softmax vanishes, and unweighted cross-entropy gives way to the large classes. So a voxel weighs by the inverse
    square root of its class's voxels in the batch (our choice).

    Args:
        logits_BKXYZ: Logits of the classes, 0 the background, float32.
        labels_BXYZ: Class of each voxel, int64.
    """
    classes = logits_BKXYZ.shape[1]
    log_share = F.log_softmax(logits_BKXYZ, dim=1)
    log_right = log_share.gather(1, labels_BXYZ[:, None]).flatten()
    label = labels_BXYZ.flatten()
    voxels = torch.bincount(label, minlength=classes).to(log_share.dtype)
    weight = voxels.clamp(min=1.0).rsqrt()
    cross_entropy = -(weight[label] * log_right).sum() / (weight * voxels).sum()
    overlap = torch.zeros_like(voxels).index_add(0, label, log_right.exp())
    given = log_share.exp().sum(dim=(0, 2, 3, 4))
    dice = (2 * overlap + _SMOOTH) / (given + voxels + _SMOOTH)
    return cross_entropy + 1 - dice[voxels > 0].mean()
