"""The image encoder: patch embedding, rotary transformer, projection and pooling.

Our own PyTorch of the published "Primus-M" backbone (a vision transformer without class token or absolute positions),
under the parameter names of the published checkpoint. Naming: B batch, C width, E channels of the joint space,
XYZ voxels, xyz patch grid, N = x y z tokens in row-major order, K kept tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch import nn
from torch.utils.checkpoint import checkpoint

from colipri_core.model.blocks import Block
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.pooling import MeanQueryPool
from colipri_core.model.pooling import PeakPool
from colipri_core.model.rope import RopeTable
from colipri_core.model.rope import rope_table
from colipri_core.model.stem import ConvStem

_HE_SLOPE = 1e-2
_LINEAR_STD = 0.02

BlockHook = Callable[[int, int], None]
"""Called after each block with (blocks done, blocks in all); an exception it raises ends the encoding."""


class PatchEmbedding(nn.Module):
    """Non-overlapping cubic patches to token channels: one strided convolution, and a stem where the config has one.

    Args:
        config: Sizes of the encoder; with `intensity_ramps` the convolution reads one channel a ramp.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        edge = config.patch_size
        self.ramps = config.intensity_ramps
        self.proj = nn.Conv3d(config.embedded_channels, config.width, kernel_size=edge, stride=edge)
        nn.init.kaiming_normal_(self.proj.weight, a=_HE_SLOPE)
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]
        self.stem = ConvStem(config) if config.stem else None

    def forward(self, images_BCXYZ: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Embed patches; some of them for the price of those, but a stem sees the whole volume all the same.

        Args:
            images_BCXYZ: Volumes.
            keep: (B, K) indices of patches in row-major grid order, int64; None embeds all.

        Returns:
            Tokens (B, N, width) or (B, K, width), and what a stem with maps adds to them after the blocks.
        """
        if keep is None:
            channels = self.channels(images_BCXYZ)
            tokens = _kept_rows(self.proj(channels), None)
        else:
            tokens = F.linear(self.rows(images_BCXYZ, keep), self.proj.weight.flatten(1), self.proj.bias)
        if self.stem is None:
            return tokens, None
        first, last = self.stem(channels if keep is None else self.channels(images_BCXYZ))
        return tokens + _kept_rows(first, keep), None if last is None else _kept_rows(last, keep)

    def rows(self, images_BCXYZ: Tensor, keep_BK: Tensor) -> Tensor:
        """What the convolution reads of some patches: (B, K, channels times voxels)."""
        return self._kept(images_BCXYZ, keep_BK).flatten(2)

    def _kept(self, images_BCXYZ: Tensor, keep_BK: Tensor) -> Tensor:
        """Channels of some patches: (B, K, C, p, p, p)."""
        patches = self._patches(images_BCXYZ)
        first = torch.arange(len(patches), device=patches.device)[:, None]
        kept = rearrange(patches[first, keep_BK], "b k c p q r -> (b k) c p q r")
        return rearrange(self.channels(kept), "(b k) c p q r -> b k c p q r", b=len(patches))

    def _patches(self, volumes_BCXYZ: Tensor) -> Tensor:
        p, q, r = self.proj.kernel_size
        return rearrange(volumes_BCXYZ, "b c (x p) (y q) (z r) -> b (x y z) c p q r", p=p, q=q, r=r)

    def channels(self, images_BCXYZ: Tensor) -> Tensor:
        """What convolution and stem read: a channel a ramp (B, C, X, Y, Z), or the volumes themselves."""
        if not self.ramps:
            return images_BCXYZ
        low, high = images_BCXYZ.new_tensor(self.ramps).reshape(1, -1, 2, 1, 1, 1, 1).unbind(dim=2)
        risen = (rearrange(images_BCXYZ, "b c x y z -> b 1 c x y z") - low).div_(high - low).clamp(0, 1)
        return risen.flatten(1, 2)


def _kept_rows(grid_BCxyz: Tensor, keep: Tensor | None) -> Tensor:
    """A grid as tokens: all of them, or those that are kept."""
    tokens: Tensor = rearrange(grid_BCxyz, "b c x y z -> b (x y z) c")
    return tokens if keep is None else tokens.take_along_dim(rearrange(keep, "b k -> b k 1"), dim=1)


class Transformer(nn.Module):
    """The stack of blocks and the final LayerNorm.

    Attributes:
        activation_checkpointing: Recompute each block in the backward pass instead of storing its activations.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        rates = [config.drop_path * number / max(config.depth - 1, 1) for number in range(config.depth)]
        self.blocks = nn.ModuleList(Block(config, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(config.width)
        self.activation_checkpointing = False
        self._initialise()

    def forward(self, x_BNC: Tensor, rope: RopeTable, on_block: BlockHook | None = None) -> Tensor:
        """Transform tokens (B, N, C) with the rotary entries of their positions."""
        for done, block in enumerate(self.blocks, start=1):
            if self.activation_checkpointing and self.training:
                x_BNC = checkpoint(block, x_BNC, rope, use_reentrant=False)
            else:
                x_BNC = block(x_BNC, rope)
            if on_block is not None:
                on_block(done, len(self.blocks))
        normalised: Tensor = self.norm(x_BNC)
        return normalised

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=_LINEAR_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for number, block in enumerate(self.blocks, start=1):
                assert isinstance(block, Block)
                block.attn.proj.weight.div_(math.sqrt(2 * number))
                block.mlp.fc2.weight.div_(math.sqrt(2 * number))


class ImageBackbone(nn.Module):
    """Volume to tokens; the published checkpoint calls its parts ``down_projection`` and ``eva``.

    Args:
        config: Sizes of the encoder.
    """

    mask_token: Tensor

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mask_token", torch.zeros(1, 1, config.width))
        self.down_projection = PatchEmbedding(config)
        self.eva = Transformer(config)

    def forward(self, images_BCXYZ: Tensor, keep: Tensor | None = None, on_block: BlockHook | None = None) -> Tensor:
        """Encode volumes to tokens.

        Args:
            images_BCXYZ: Preprocessed volumes, values in [-1, 1], each axis a multiple of the patch size.
            keep: (B, K) int64 indices of the tokens to encode; the others are dropped before the blocks, and the
                rotary entries with them. None keeps all.
            on_block: Called after each block.

        Returns:
            Tokens after the final LayerNorm, (B, N, C) or (B, K, C).

        Raises:
            ValueError: If the volume does not divide into patches or ``keep`` has the wrong shape.
        """
        grid = self.grid_shape(images_BCXYZ)
        rope = rope_table(grid, self.config.head_dim, images_BCXYZ.device)
        if keep is not None:
            if keep.ndim != 2 or keep.shape[0] != images_BCXYZ.shape[0]:
                msg = f"keep must have shape ({images_BCXYZ.shape[0]}, K), got {tuple(keep.shape)}"
                raise ValueError(msg)
            rope = rope.select(keep)
        x_BNC, recalled = self.down_projection(images_BCXYZ, keep)
        tokens: Tensor = self.eva(x_BNC, rope, on_block)
        return tokens if recalled is None else tokens + recalled

    def grid_shape(self, images_BCXYZ: Tensor) -> tuple[int, int, int]:
        """Return the number of patches along each axis of a batch (B, C, X, Y, Z).

        Raises:
            ValueError: If the batch is not 5-dimensional, has other channels or does not divide into patches.
        """
        patch, channels = self.config.patch_size, self.config.in_channels
        match tuple(images_BCXYZ.shape):
            case (_, c, x, y, z) if c == channels and not (x % patch or y % patch or z % patch):
                return x // patch, y // patch, z // patch
        msg = (
            f"images must have shape (batch, {channels}, X, Y, Z) with each axis a multiple of {patch} voxels, "
            f"got {tuple(images_BCXYZ.shape)}; crop or pad first"
        )
        raise ValueError(msg)


class ImageEncoder(nn.Module):
    """Backbone, projector to the joint space and pooler.

    Args:
        config: Sizes of the encoder.
        pooler_heads: Attention heads of the pooler.
        pooler_peaks: Directions along which it is told the strongest token; 0 pools as published.
    """

    def __init__(self, config: ImageEncoderConfig, *, pooler_heads: int, pooler_peaks: int = 0) -> None:
        super().__init__()
        self.backbone = ImageBackbone(config)
        self.projector = nn.Conv3d(config.width, config.embed_dim, kernel_size=1)
        self.pooler = (
            PeakPool(config.embed_dim, pooler_heads, peaks=pooler_peaks)
            if pooler_peaks
            else MeanQueryPool(config.embed_dim, pooler_heads)
        )

    @property
    def patch_size(self) -> int:
        """Edge of a patch in voxels."""
        return self.backbone.config.patch_size

    def features(self, images_BCXYZ: Tensor, on_block: BlockHook | None = None) -> Tensor:
        """Encode volumes to the raw patch grid (B, C, x, y, z)."""
        x, y, z = self.backbone.grid_shape(images_BCXYZ)
        tokens: Tensor = self.backbone(images_BCXYZ, on_block=on_block)
        return rearrange(tokens, "b (x y z) c -> b c x y z", x=x, y=y, z=z)

    def pool(self, grid_BCxyz: Tensor) -> Tensor:
        """Project a raw patch grid to the joint space and pool over all its tokens: (B, E)."""
        pooled: Tensor = self.pooler(rearrange(self.projector(grid_BCxyz), "b e x y z -> b (x y z) e"))
        return pooled

    def dense(self, grid_BCxyz: Tensor) -> Tensor:
        """Bring every token of a raw patch grid into the joint space: (B, E, x, y, z)."""
        tokens = rearrange(self.projector(grid_BCxyz), "b e x y z -> b x y z e")
        return rearrange(self.pooler.dense(tokens), "b x y z e -> b e x y z")
