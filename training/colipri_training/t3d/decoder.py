"""RestorationDecoder: from feature maps, the deepest of which knows the report, back to voxels.

Naming: B volumes, C channels, XYZ voxels.
"""

from __future__ import annotations

import itertools

import torch
from einops import rearrange
from monai.networks.blocks.dynunet_block import UnetResBlock
from torch import Tensor
from torch import nn

from colipri_training.t3d.config import FusionConfig

_NORM = ("group", {"num_groups": 8})


class RestorationDecoder(nn.Module):
    """A U-Net decoder over the levels of any dense encoder; voxels come out of the shallowest by depth-to-space.

    It foretells what has to be added to the corrupted sub-volume, and starts from nothing (our choice).

    Args:
        channels: Channels of the encoder's levels.
        strides: Their strides; each is the one before or twice that.
        config: Widths.

    Raises:
        ValueError: If strides jump.
    """

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...], config: FusionConfig) -> None:
        super().__init__()
        steps = [deep // shallow for shallow, deep in itertools.pairwise(strides)]
        if any(step not in (1, 2) for step in steps):
            msg = f"each level's stride must be the one before or twice that, got {strides}"
            raise ValueError(msg)
        widths = [min(config.decoder * 2**level, config.decoder_limit) for level in range(len(channels))]
        self.edge = strides[0]
        self.enter = nn.Conv3d(channels[-1], widths[-1], kernel_size=1)
        self.up = nn.ModuleList()
        self.join = nn.ModuleList()
        for level in reversed(range(len(steps))):
            deep, shallow, step = widths[level + 1], widths[level], steps[level]
            self.up.append(nn.ConvTranspose3d(deep, shallow, kernel_size=step, stride=step))
            self.join.append(
                UnetResBlock(3, shallow + channels[level], shallow, kernel_size=3, stride=1, norm_name=_NORM)
            )
        self.leave = nn.Conv3d(widths[0], self.edge**3, kernel_size=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, levels: list[Tensor], corrupted_B1XYZ: Tensor) -> Tensor:
        """Return the restored sub-volumes (B, 1, X, Y, Z).

        Args:
            levels: Feature maps (B, C, x, y, z), the coarsest last.
            corrupted_B1XYZ: What the encoder saw.
        """
        x = self.enter(levels[-1])
        for up, join, skip in zip(self.up, self.join, reversed(levels[:-1]), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        edge = self.edge
        change = rearrange(self.leave(x), "b (p q r) x y z -> b 1 (x p) (y q) (z r)", p=edge, q=edge, r=edge)
        return corrupted_B1XYZ + change
