"""ClickNetwork: outlines what a user points at, in one region of a CT.

A small residual U-Net (MONAI blocks) over a cube of voxels. Intensities enter three times: over the whole CT range,
and twice relative to the intensity at the place that was pointed at, so that "like what was clicked" needs no learning
of absolute Hounsfield values. Random walks from what was pointed at tell it how far one thing seems to reach before it
has learned to see. Voxels go in and logits come out by space-to-depth, which keeps edges to a voxel at an
eighth of the cost of full resolution. Batch norm, not instance norm: a region's statistics must not decide whether a
few voxels are an object, and at inference it is free. The design is our choice.

Naming: B batch, H hints, XYZ voxels of the region.
"""

from __future__ import annotations

import itertools

import torch
from einops import rearrange
from einops import reduce
from monai.networks.blocks.dynunet_block import UnetResBlock
from monai.networks.blocks.dynunet_block import UnetUpBlock
from torch import Tensor
from torch import nn
from torch.nn import functional

from colipri_core.model.click_config import FOLD
from colipri_core.model.click_config import ClickNetworkConfig
from colipri_core.model.click_hints import CERTAIN
from colipri_core.model.click_hints import HINTS
from colipri_core.model.walk import homecoming

_NORM = "batch"
_WIDE_HU = 1024.0
_REFERENCE_POWER = 4
_BOX_POWER = 8

_WALKED_HU = (-400.0, 600.0)
_MIDDLE_OF_BOX = 0.9
_DECADES = 4


class ClickNetwork(nn.Module):
    """Intensities and hints to logits of "belongs to the object".

    Args:
        config: Sizes.
    """

    def __init__(self, config: ClickNetworkConfig) -> None:
        super().__init__()
        self.config = config
        width = [min(config.channels * 2**level, config.widest) for level in range(config.levels + 1)]
        inputs = (1 + len(config.contrast_hu) + len(HINTS)) * FOLD**3 + 2 * len(config.walks_hu)
        self.stem = UnetResBlock(3, inputs, width[0], kernel_size=3, stride=1, norm_name=_NORM)
        self.down = nn.ModuleList(
            UnetResBlock(3, shallow, deep, kernel_size=3, stride=2, norm_name=_NORM)
            for shallow, deep in itertools.pairwise(width)
        )
        self.up = nn.ModuleList(
            UnetUpBlock(3, deep, shallow, kernel_size=3, stride=1, upsample_kernel_size=2, norm_name=_NORM)
            for shallow, deep in reversed(list(itertools.pairwise(width)))
        )
        self.out = nn.Conv3d(width[0], FOLD**3, kernel_size=1)

    def forward(self, hu_B1XYZ: Tensor, hints_BHXYZ: Tensor) -> Tensor:
        """Return logits (B, 1, X, Y, Z).

        Args:
            hu_B1XYZ: Intensities in HU; each edge a multiple of `config.stride`.
            hints_BHXYZ: The maps of `click_hints.HINTS`, in [0, 1].
        """
        fold = {"p": FOLD, "q": FOLD, "r": FOLD}
        views = self._views(hu_B1XYZ, reference_hu(hu_B1XYZ, hints_BHXYZ))
        x = torch.cat([views, hints_BHXYZ], dim=1)
        x = rearrange(x, "b c (x p) (y q) (z r) -> b (c p q r) x y z", **fold)
        if self.config.walks_hu:
            x = torch.cat([x, self._walks(hu_B1XYZ, hints_BHXYZ)], dim=1)
        x = self.stem(x.contiguous(memory_format=torch.channels_last_3d))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = rearrange(self.out(x), "b (p q r) x y z -> b 1 (x p) (y q) (z r)", **fold)
        return logits

    def _views(self, hu_B1XYZ: Tensor, reference_B: Tensor) -> Tensor:
        """The intensities over the CT range, and around the reference, in [-1, 1]: (B, 3, X, Y, Z)."""
        relative = hu_B1XYZ - rearrange(reference_B, "b -> b 1 1 1 1")
        near = [torch.tanh(relative / half_range) for half_range in self.config.contrast_hu]
        return torch.cat([(hu_B1XYZ / _WIDE_HU).clamp(-1, 1), *near], dim=1)

    def _walks(self, hu_B1XYZ: Tensor, hints_BHXYZ: Tensor) -> Tensor:
        """The chance to come home from each cell, and its logarithm, both in [0, 1]: (B, 2 S, X, Y, Z), folded."""
        _, positive, negative, box = (map_BXYZ[:, None] for map_BXYZ in hints_BHXYZ[:, :4].unbind(dim=1))
        pointed_at = reduce(positive, "b 1 x y z -> b 1 1 1 1", "max") > CERTAIN
        home = torch.where(pointed_at, positive > CERTAIN, box > _MIDDLE_OF_BOX)
        home, lost = (functional.max_pool3d(each.float(), FOLD)[:, 0] > 0 for each in (home, negative > CERTAIN))
        hu_BXYZ = functional.avg_pool3d(hu_B1XYZ.float().clamp(*_WALKED_HU), FOLD)[:, 0]
        chance = homecoming(hu_BXYZ, home, lost, self.config.walks_hu)
        return torch.cat([chance, 1 + chance.clamp(min=10.0**-_DECADES).log10() / _DECADES], dim=1)


def reference_hu(hu_B1XYZ: Tensor, hints_BHXYZ: Tensor) -> Tensor:
    """Return the mean intensity (B,) of what was pointed at.

    That is: of the positive places; where there are none, of the middle of the positive boxes; else of the mask as it
    stands; else 0 HU.

    Args:
        hu_B1XYZ: Intensities in HU.
        hints_BHXYZ: The maps of `click_hints.HINTS`.
    """
    previous, positive, _, box = hints_BHXYZ[:, :4].unbind(dim=1)
    reference = hu_B1XYZ.new_zeros(len(hu_B1XYZ))
    for weights in (previous, box**_BOX_POWER, positive**_REFERENCE_POWER):
        total = reduce(weights, "b x y z -> b", "sum")
        mean = reduce(weights * hu_B1XYZ[:, 0], "b x y z -> b", "sum") / total.clamp(min=1e-6)
        reference = torch.where(total > 1e-3, mean, reference)
    return reference
