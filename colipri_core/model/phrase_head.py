"""PhraseHead: outlines what a phrase names, from the volume, the encoder's tokens and the phrase in the joint space.

A `TokenUNet` gives each voxel a short vector f, once a volume. The phrase's direction d (present less absent, see
`inference.texts.PromptPair`) is mapped to two vectors p and q, and the evidence e of the phrase at each token, the
product of d and the token in the joint space, tells where it is seen: with e standardised over the volume and
interpolated, the logit is <f, p> + b + e (<f, q> + c). So any phrase can be asked, and another one costs two products.
The design is our choice. Naming: B batch, Q phrases, E joint space, W width, XYZ voxels, xyz patch grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import nn

from colipri_core.model.config import JsonConfig
from colipri_core.model.config import check_patch_size
from colipri_core.model.token_unet import TokenUNet

_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, kw_only=True)
class PhraseHeadConfig(JsonConfig):
    """Sizes of the head.

    Attributes:
        token_width: Channels of the encoder's raw tokens.
        patch_size: Edge of the encoder's patches in voxels; a power of two of at least 4.
        embed_dim: Channels of the joint space.
        channels: Channels of the U-Net's shallowest level; each deeper level has twice as many.
        width: Channels of a voxel's vector.
    """

    token_width: int
    patch_size: int
    embed_dim: int
    channels: int
    width: int

    def __post_init__(self) -> None:
        """Refuse sizes no head can have."""
        check_patch_size(self.patch_size)


class PhraseHead(nn.Module):
    """Volume, tokens and phrases to logits.

    Args:
        config: Sizes.
    """

    def __init__(self, config: PhraseHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.voxels = TokenUNet(
            token_width=config.token_width,
            patch_size=config.patch_size,
            channels=config.channels,
            values=config.width,
        )
        self.query = nn.Linear(config.embed_dim, 2 * (config.width + 1))

    def forward(self, images_B1XYZ: Tensor, tokens_BCxyz: Tensor) -> Tensor:
        """Return the vectors of voxels, (B, W, X, Y, Z).

        Args:
            images_B1XYZ: Preprocessed volumes, (B, 1, X, Y, Z) in [-1, 1].
            tokens_BCxyz: The encoder's raw patch grid of the same volumes, (B, C, x, y, z).
        """
        vectors: Tensor = self.voxels(images_B1XYZ, tokens_BCxyz)
        return vectors

    def answer(self, vectors_BWXYZ: Tensor, dense_BExyz: Tensor, directions_BQE: Tensor) -> Tensor:
        """Return logits (B, Q, X, Y, Z): whether a voxel is part of what a phrase names.

        Args:
            vectors_BWXYZ: What `forward` returned.
            dense_BExyz: Unit vectors of the tokens in the joint space, (B, E, x, y, z).
            directions_BQE: Phrases of each volume, differences of unit vectors (B, Q, E).
        """
        unit_BQE = F.normalize(directions_BQE, dim=-1)
        here, seen = self.query(self.config.embed_dim**0.5 * unit_BQE).chunk(2, dim=-1)
        evidence = torch.einsum("bexyz,bqe->bqxyz", dense_BExyz, unit_BQE)
        mean, spread = (measure(evidence, dim=(2, 3, 4), keepdim=True) for measure in (torch.mean, torch.std))
        evidence = (evidence - mean) / spread.clamp(min=_LEAST_SPREAD)
        evidence = F.interpolate(evidence, size=vectors_BWXYZ.shape[2:], mode="trilinear")
        return _product(vectors_BWXYZ, here) + evidence * _product(vectors_BWXYZ, seen)


def _product(vectors_BWXYZ: Tensor, query_BQV: Tensor) -> Tensor:
    """Products (B, Q, X, Y, Z) of voxels and queries, whose last channel is a constant, over the root of the width."""
    width = vectors_BWXYZ.shape[1]
    product = torch.einsum("bwxyz,bqw->bqxyz", vectors_BWXYZ, query_BQV[..., :width]) * width**-0.5
    result: Tensor = product + query_BQV[..., width:, None, None]
    return result
