"""ConvStem: convolutions over the volume that halve it until one voxel is one token."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import nn

from colipri_core.model.config import ImageEncoderConfig


class ConvStem(nn.Module):
    """What convolutions see around each patch, as token channels to add to the patch's linear embedding.

    A linear map needs a direction for every place that a small thing can have within a patch, and learns each of them
    slowly; convolutions find it anywhere, also where it lies across the border of two patches. Starts from nothing:
    added to an encoder that was trained without, it leaves it as it was. The idea is that of Xiao et al., "Early
    convolutions help transformers see better" (2021); every size is our choice, and none of it is part of the
    published system.

    Args:
        config: Sizes of the encoder, with a `stem`.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = config.embedded_channels
        for wider, units in config.stem:
            layers += [nn.Conv3d(channels, wider, 3, stride=2, padding=1, bias=False), _VolumeNorm(wider), nn.ReLU()]
            layers += [_ResidualUnit(wider) for _ in range(units)]
            channels = wider
        self.look = nn.Sequential(*layers)
        self.leave = nn.Conv3d(channels, config.width, kernel_size=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, channels_BCXYZ: Tensor) -> Tensor:
        """Return token channels (B, width, x, y, z) of whole volumes, after the intensity ramps."""
        # Channels last more than halves the time of such convolutions on a CPU.
        seen = self.look(channels_BCXYZ.contiguous(memory_format=torch.channels_last_3d))
        told: Tensor = self.leave(seen)
        return told


class _ResidualUnit(nn.Module):
    """Two convolutions beside a way past them; the second is of one voxel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            _VolumeNorm(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 1, bias=False),
            _VolumeNorm(channels),
        )

    def forward(self, x_BCxyz: Tensor) -> Tensor:
        return F.relu(x_BCxyz + self.branch(x_BCxyz))


class _VolumeNorm(nn.Module):
    """Instance normalisation: each channel of each volume for itself, so that no volume depends on its batch.

    Written as batch normalisation of one volume after the other, which keeps the channels last; the library's own
    instance and group normalisation take several times as long on such a tensor.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCxyz: Tensor) -> Tensor:
        volumes = (F.batch_norm(x, None, None, self.weight, self.bias, training=True) for x in x_BCxyz.split(1))
        return torch.cat(list(volumes))
