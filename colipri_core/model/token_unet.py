"""TokenUNet: from a volume and the encoder's tokens of it to values of each voxel.

A small residual U-Net (MONAI blocks) over the model grid at half resolution, whose deepest level is the encoder's
patch grid: there the tokens join. Voxels go in and values come out by space-to-depth, so edges are kept to a voxel.
The design is our choice. Naming: B batch, C token width, K values of a voxel, XYZ voxels, xyz patch grid.
"""

from __future__ import annotations

import itertools

import torch
from einops import rearrange
from monai.networks.blocks.dynunet_block import UnetResBlock
from monai.networks.blocks.dynunet_block import UnetUpBlock
from torch import Tensor
from torch import nn

_FOLD = 2
_NORM = "instance"


class TokenUNet(nn.Module):
    """Volume and tokens to values of voxels.

    Args:
        token_width: Channels of the encoder's raw tokens.
        patch_size: Edge of the encoder's patches in voxels; a power of two of at least 4.
        channels: Channels of the shallowest level; each deeper level has twice as many.
        values: Values of a voxel.

    Attributes:
        FOLDED: Channels of a value in the last layer: the voxels that share a place at half resolution.
    """

    FOLDED = _FOLD**3

    def __init__(self, *, token_width: int, patch_size: int, channels: int, values: int) -> None:
        super().__init__()
        levels = patch_size.bit_length() - 2
        width = [channels * 2**level for level in range(levels + 1)]
        self.stem = UnetResBlock(3, _FOLD**3, width[0], kernel_size=3, stride=1, norm_name=_NORM)
        self.down = nn.ModuleList(
            UnetResBlock(3, shallow, deep, kernel_size=3, stride=2, norm_name=_NORM)
            for shallow, deep in itertools.pairwise(width)
        )
        self.tokens = nn.Conv3d(token_width, width[-1], kernel_size=1)
        self.join = UnetResBlock(3, 2 * width[-1], width[-1], kernel_size=3, stride=1, norm_name=_NORM)
        self.up = nn.ModuleList(
            UnetUpBlock(3, deep, shallow, kernel_size=3, stride=1, upsample_kernel_size=2, norm_name=_NORM)
            for shallow, deep in reversed(list(itertools.pairwise(width)))
        )
        self.out = nn.Conv3d(width[0], values * _FOLD**3, kernel_size=1)

    def forward(self, images_B1XYZ: Tensor, tokens_BCxyz: Tensor) -> Tensor:
        """Return values (B, K, X, Y, Z).

        Args:
            images_B1XYZ: Preprocessed volumes, (B, 1, X, Y, Z) in [-1, 1].
            tokens_BCxyz: The encoder's raw patch grid of the same volumes, (B, C, x, y, z).
        """
        fold = {"p": _FOLD, "q": _FOLD, "r": _FOLD}
        x = self.stem(rearrange(images_B1XYZ, "b 1 (x p) (y q) (z r) -> b (p q r) x y z", **fold))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = self.join(torch.cat([x, self.tokens(tokens_BCxyz)], dim=1))
        for up in self.up:
            x = up(x, skips.pop())
        values: Tensor = rearrange(self.out(x), "b (k p q r) x y z -> b k (x p) (y q) (z r)", **fold)
        return values
