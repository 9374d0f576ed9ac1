"""StructureHead: outlines anatomical structures from the volume and the encoder's tokens.

A small residual U-Net (MONAI blocks) over the model grid at half resolution, whose deepest level is the encoder's
patch grid: there the tokens join. Voxels go in and logits come out by space-to-depth, so edges are kept to a voxel.
The design is our choice. Naming: B batch, C token width, K classes with background, XYZ voxels, xyz patch grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from typing import Any

import torch
from einops import rearrange
from monai.networks.blocks.dynunet_block import UnetResBlock
from monai.networks.blocks.dynunet_block import UnetUpBlock
from torch import Tensor
from torch import nn

from colipri_core.model.config import check_keys

_FOLD = 2
_NORM = "instance"


@dataclass(frozen=True, kw_only=True)
class StructureHeadConfig:
    """Sizes of the head and what it outlines.

    Attributes:
        token_width: Channels of the encoder's raw tokens.
        patch_size: Edge of the encoder's patches in voxels; a power of two of at least 4.
        channels: Channels of the shallowest level; each deeper level has twice as many.
        structures: Names of the classes 1, 2, ... in `vocabulary.structures`.
    """

    token_width: int
    patch_size: int
    channels: int
    structures: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse sizes no head can have."""
        if self.patch_size < 4 or self.patch_size & (self.patch_size - 1):
            msg = f"patch_size must be a power of two of at least 4, got {self.patch_size}"
            raise ValueError(msg)
        object.__setattr__(self, "structures", tuple(self.structures))

    @property
    def levels(self) -> int:
        """Halvings between half resolution and the patch grid."""
        return self.patch_size.bit_length() - 2

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values that ``from_json`` reads back."""
        return {**asdict(self), "structures": list(self.structures)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StructureHeadConfig:
        """Read a dictionary written by ``to_json``.

        Raises:
            ValueError: If a key is missing or unknown (named in the message), or a size is impossible.
        """
        check_keys(cls.__name__, document, {field.name for field in fields(cls)})
        return cls(**document)


class StructureHead(nn.Module):
    """Volume and tokens to class logits.

    Args:
        config: Sizes and classes.

    Attributes:
        FOLDED: Channels of a class in the last layer: the voxels that share a place at half resolution.
    """

    FOLDED = _FOLD**3

    def __init__(self, config: StructureHeadConfig) -> None:
        super().__init__()
        self.config = config
        width = [config.channels * 2**level for level in range(config.levels + 1)]
        self.stem = UnetResBlock(3, _FOLD**3, width[0], kernel_size=3, stride=1, norm_name=_NORM)
        self.down = nn.ModuleList(
            UnetResBlock(3, shallow, deep, kernel_size=3, stride=2, norm_name=_NORM)
            for shallow, deep in itertools.pairwise(width)
        )
        self.tokens = nn.Conv3d(config.token_width, width[-1], kernel_size=1)
        self.join = UnetResBlock(3, 2 * width[-1], width[-1], kernel_size=3, stride=1, norm_name=_NORM)
        self.up = nn.ModuleList(
            UnetUpBlock(3, deep, shallow, kernel_size=3, stride=1, upsample_kernel_size=2, norm_name=_NORM)
            for shallow, deep in reversed(list(itertools.pairwise(width)))
        )
        self.out = nn.Conv3d(width[0], (len(config.structures) + 1) * _FOLD**3, kernel_size=1)

    def forward(self, images_B1XYZ: Tensor, tokens_BCxyz: Tensor) -> Tensor:
        """Return logits (B, K, X, Y, Z).

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
        logits: Tensor = rearrange(self.out(x), "b (k p q r) x y z -> b k (x p) (y q) (z r)", **fold)
        return logits
