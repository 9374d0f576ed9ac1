"""Reconstruction: masked autoencoding of volumes, of which the encoder sees a quarter (He et al., 2022).

Follows the public Primus masked autoencoder in ratio, decoder depth and target; the linear way back to voxels and the
decoder's width are our choice. Naming: R volumes, N tokens, V visible and H hidden ones, C and W widths of encoder and
decoder, D voxels of a patch.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch import nn

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder import Transformer
from colipri_core.model.rope import rope_table
from colipri_training.data.batch import Batch
from colipri_training.data.batch import Masked
from colipri_training.distributed import World
from colipri_training.distributed import global_mean
from colipri_training.objectives.config import ReconstructionConfig
from colipri_training.objectives.encoded import Encoded

_VARIANCE_FLOOR = 1e-6


class Reconstruction:
    """Hidden voxels must be foretold from the visible ones.

    With x the volume in [-1, 1], x^ what the decoder makes of it and m = 1 on visible voxels:
    L = sum (x^ - x)^2 (1 - m) / sum (1 - m). With `normalise`, x is each hidden patch less its mean, over its standard
    deviation.
    """

    name = "reconstruction"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar."""
        del batch
        assert encoded.reconstruction is not None
        return global_mean(encoded.reconstruction.sum(), len(encoded.reconstruction))


class Reconstructor(nn.Module):
    """The light decoder: mask tokens in the gaps, rotary blocks over the whole grid, a linear map to voxels.

    Args:
        config: Its sizes.
        image: Sizes of the encoder.
    """

    def __init__(self, config: ReconstructionConfig, image: ImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_size = image.patch_size
        self.enter = nn.Linear(image.width, config.width)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        own = ImageEncoderConfig(width=config.width, depth=config.depth, heads=config.heads, drop_path=0.0)
        self.head_dim = own.head_dim
        self.transformer = Transformer(own)
        self.leave = nn.Linear(config.width, image.in_channels * image.patch_size**3)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, tokens_RVC: Tensor, masked: Masked) -> Tensor:
        """Return each volume's mean squared error over its hidden voxels, (R,) float32.

        Args:
            tokens_RVC: The encoder's tokens at `masked.visible`.
            masked: The volumes.
        """
        target_RHD = self._target(masked)
        hidden_RH = hidden_tokens(masked.visible, self._tokens(masked))
        predicted_RHD = self.predict(tokens_RVC, masked, hidden_RH)
        return (predicted_RHD.float() - target_RHD).square().mean(dim=(1, 2))

    def predict(self, tokens_RVC: Tensor, masked: Masked, hidden_RH: Tensor) -> Tensor:
        """Return the decoder's voxels of the hidden patches, (R, H, D)."""
        grid = self._grid(masked)
        entered = self.enter(tokens_RVC)
        everything = self.mask_token.to(entered.dtype).expand(len(entered), self._tokens(masked), -1)
        places = rearrange(masked.visible, "r v -> r v 1").expand_as(entered)
        decoded = self.transformer(
            everything.scatter(1, places, entered), rope_table(grid, self.head_dim, entered.device)
        )
        voxels: Tensor = self.leave(decoded.take_along_dim(rearrange(hidden_RH, "r h -> r h 1"), dim=1))
        return voxels

    def _target(self, masked: Masked) -> Tensor:
        edge = self.patch_size
        patches = rearrange(masked.images, "r c (x p) (y q) (z s) -> r (x y z) (c p q s)", p=edge, q=edge, s=edge)
        hidden_RH = hidden_tokens(masked.visible, patches.shape[1])
        target = patches.take_along_dim(rearrange(hidden_RH, "r h -> r h 1"), dim=1)
        if not self.config.normalise:
            return target
        variance, mean = torch.var_mean(target, dim=2, keepdim=True)
        return (target - mean) / (variance + _VARIANCE_FLOOR).sqrt()

    def _grid(self, masked: Masked) -> tuple[int, int, int]:
        x, y, z = (size // self.patch_size for size in masked.images.shape[2:])
        return x, y, z

    def _tokens(self, masked: Masked) -> int:
        x, y, z = self._grid(masked)
        return x * y * z


def hidden_tokens(visible_RV: Tensor, tokens: int) -> Tensor:
    """Indices of the tokens that are not visible, (R, H), rising."""
    hidden = torch.ones(len(visible_RV), tokens, dtype=torch.bool, device=visible_RV.device)
    hidden.scatter_(1, visible_RV, value=False)
    return rearrange(hidden.nonzero()[:, 1], "(r h) -> r h", r=len(visible_RV))


def blank(masked: Masked, patch_size: int) -> Tensor:
    """The volumes with their hidden patches at 0, (R, 1, X, Y, Z): what a stem that sees whole volumes may see."""
    x, y, z = (size // patch_size for size in masked.images.shape[2:])
    shown = torch.zeros(len(masked.images), x * y * z, dtype=masked.images.dtype, device=masked.images.device)
    shown.scatter_(1, masked.visible, 1.0)
    grid = rearrange(shown, "r (x y z) -> r 1 x y z", x=x, y=y, z=z)
    return masked.images * F.interpolate(grid, scale_factor=patch_size, mode="nearest")


def visible_count(tokens: int, config: ReconstructionConfig) -> int:
    """How many of a volume's tokens the encoder sees."""
    return tokens - config.hidden_of(tokens)


def hide(batch: Batch, config: ReconstructionConfig, patch_size: int, *, seed: int, world: World) -> Batch:
    """Draw which tokens the encoder sees of each volume, the same whatever the number of processes.

    Args:
        batch: This process's part of the global batch.
        config: Ratio, and whether volumes with a report are reconstructed too.
        patch_size: Edge of a patch in voxels.
        seed: Decides the draw.
        world: The processes.

    Returns:
        The batch with its volumes to reconstruct: those with a report, then those without.

    Raises:
        ValueError: If there is nothing to reconstruct.
    """
    generator = torch.Generator().manual_seed(seed)
    images = [volumes for volumes in (batch.images if config.paired else None, batch.unpaired) if volumes is not None]
    if not images:
        msg = "reconstruction needs volumes without report, or paired=True, got neither"
        raise ValueError(msg)
    visible = []
    for volumes in images:
        tokens = volumes[0, 0].numel() // patch_size**3
        score = torch.rand(world.size * len(volumes), tokens, generator=generator)
        own = score[world.rank * len(volumes) :][: len(volumes)]
        count = visible_count(tokens, config)
        visible.append(own.topk(count, dim=1).indices.sort(dim=1).values.to(volumes.device))
    return dataclasses.replace(batch, masked=Masked(images=torch.cat(images), visible=torch.cat(visible)))
