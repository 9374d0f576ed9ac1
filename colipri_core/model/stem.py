"""PatchStem: small convolutions within each patch of the image encoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import nn

from colipri_core.model.config import ImageEncoderConfig


class PatchStem(nn.Module):
    """What small convolutions see in a patch, as token channels to add to the patch's linear embedding.

    A linear map needs a direction for every place that a small thing can have within a patch; convolutions find it
    anywhere, and the mean and the maximum over the patch say how much of it there is and whether there is any. No
    voxel of another patch is looked at, so that a dropped token stays unseen. Starts from nothing: added to an encoder
    that was trained without, it leaves it as it was. Not part of the published system.

    Args:
        config: Sizes of the encoder, with a `stem`.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = config.embedded_channels
        for number, wider in enumerate(config.stem):
            stride = 1 if number == 0 else 2
            layers += [nn.Conv3d(channels, wider, kernel_size=3, stride=stride, padding=1), nn.GELU()]
            channels = wider
        self.look = nn.Sequential(*layers)
        self.leave = nn.Linear(2 * channels, config.width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, patches_PCXYZ: Tensor) -> Tensor:
        """Return token channels (P, width) of patches, P of any volumes."""
        seen = self.look(patches_PCXYZ).flatten(2)
        told: Tensor = self.leave(torch.cat([seen.mean(dim=2), seen.amax(dim=2)], dim=1))
        return told
