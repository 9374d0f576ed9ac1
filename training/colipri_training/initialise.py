"""Initial weights that are measured on the data."""

from __future__ import annotations

import torch
from torch import Tensor

from colipri_core.model.encoder import PatchEmbedding

_FLOOR = 1e-3
_GAIN = 0.5


@torch.no_grad()
def whiten(embedding: PatchEmbedding, patches: Tensor) -> None:
    """Start a patch embedding from the principal components of real patches, each scaled to the same variance.

    From random weights every channel is a mixture that the strongest component, the mean intensity, dominates, and a
    short training spends itself on finding the others. Components with little variance are scaled up less, so that
    noise is not (our choice).

    Args:
        embedding: Changed in place.
        patches: (S, D) samples of what the convolution reads, D its channels times the voxels of a patch.
    """
    weight = embedding.proj.weight
    mean = patches.mean(dim=0)
    centred = patches - mean
    directions, variances, _ = torch.linalg.svd(centred.T @ centred / len(patches))
    count = min(len(weight), len(directions))
    rows = _GAIN * (directions[:, :count] / (variances[:count] + _FLOOR).sqrt()).T
    weight[:count] = rows.reshape(count, *weight.shape[1:])
    embedding.proj.bias[:count] = -rows @ mean
