"""Networks on top of an encoder: a U-Net decoder over its feature maps, and a linear classifier of the deepest.

Both take any `DenseEncoder`: its strides double from level to level, and what lies between its finest level and full
resolution is decoded without a skip. Naming: B volumes, XYZ voxels, K classes with background, F findings.
"""

from __future__ import annotations

import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock
from monai.networks.blocks.dynunet_block import UnetResBlock
from monai.networks.blocks.dynunet_block import UnetUpBlock
from monai.networks.blocks.dynunet_block import get_conv_layer
from torch import Tensor
from torch import nn

from colipri_core.model.dense_encoder import DenseEncoder
from colipri_training.encoders.sizes import smallest_convolved
from colipri_training.transfer.config import DecoderConfig

_NORM = ("instance", {"affine": True})
"""As in nnU-Net."""


class UNetDecoder(nn.Module):
    """Feature maps to logits at full resolution, by blocks of MONAI.

    Args:
        channels: Channels of the feature maps, the coarsest last.
        strides: Their strides, powers of two.
        classes: Outputs, background included.
        config: Sizes.

    Raises:
        ValueError: If a stride is no power of two above one.
    """

    def __init__(
        self, channels: tuple[int, ...], strides: tuple[int, ...], *, classes: int, config: DecoderConfig
    ) -> None:
        super().__init__()
        if any(stride < 2 or stride & (stride - 1) for stride in strides):
            msg = f"a decoder needs feature maps whose strides are powers of two above one, got {strides}"
            raise ValueError(msg)
        levels = strides[-1].bit_length() - 1
        width = [min(config.widest, config.width * 2**level) for level in range(levels + 1)]
        self._levels = {stride.bit_length() - 1: index for index, stride in enumerate(strides)}
        self.bottom = nn.Conv3d(channels[-1], width[-1], kernel_size=1)
        self.image = UnetResBlock(3, 1, width[0], 3, 1, _NORM) if config.image_skip else None
        self.skips = nn.ModuleDict(
            {
                str(level): nn.Conv3d(channels[index], width[level], kernel_size=1)
                for level, index in self._levels.items()
                if level < levels
            }
        )
        joined = {int(level) for level in self.skips} | ({0} if config.image_skip else set())
        self.up = nn.ModuleList(
            UnetUpBlock(3, width[level + 1], width[level], 3, 1, 2, _NORM)
            if level in joined
            else _PlainUp(width[level + 1], width[level])
            for level in reversed(range(levels))
        )
        self.out = nn.Conv3d(width[0], classes, kernel_size=1)

    def forward(self, images_B1XYZ: Tensor, maps: list[Tensor]) -> Tensor:
        """Return logits (B, K, X, Y, Z).

        Args:
            images_B1XYZ: The volumes.
            maps: Their feature maps.
        """
        x = self.bottom(maps[-1])
        for level, up in zip(reversed(range(len(self.up))), self.up, strict=True):
            if str(level) in self.skips:
                x = up(x, self.skips[str(level)](maps[self._levels[level]]))
            elif level == 0 and self.image is not None:
                x = up(x, self.image(images_B1XYZ))
            else:
                x = up(x)
        logits: Tensor = self.out(x)
        return logits


class _PlainUp(nn.Module):
    """Twice the resolution, without a skip."""

    def __init__(self, deep: int, shallow: int) -> None:
        super().__init__()
        self.up = get_conv_layer(3, deep, shallow, kernel_size=2, stride=2, conv_only=True, is_transposed=True)
        self.block = UnetBasicBlock(3, shallow, shallow, kernel_size=3, stride=1, norm_name=_NORM)

    def forward(self, x: Tensor) -> Tensor:
        decoded: Tensor = self.block(self.up(x))
        return decoded


class TransferNetwork(nn.Module):
    """An encoder and what is learned on top of it.

    Args:
        encoder: A `DenseEncoder` that is a module.
        frozen: Whether its weights and its statistics stay as they are.
    """

    def __init__(self, encoder: DenseEncoder, *, frozen: bool) -> None:
        super().__init__()
        assert isinstance(encoder, nn.Module), "encoders are modules"
        self.encoder = encoder
        self.frozen = frozen
        self.encoder.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> TransferNetwork:
        """Set training mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def smallest_convolved(self, edge: int) -> int | None:
        """Cells along an axis of `edge` voxels of the smallest map that a 3 x 3 x 3 convolution reads."""
        return smallest_convolved(self.encoder.config, edge, decoded=False)

    def features(self, images_B1XYZ: Tensor) -> list[Tensor]:
        """Feature maps, without a graph where the encoder is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps: list[Tensor] = self.encoder(images_B1XYZ)
        return maps


class SegmentationNetwork(TransferNetwork):
    """Volumes to class logits (B, K, X, Y, Z).

    Args:
        encoder: Gives the feature maps.
        classes: Outputs, background included.
        config: Sizes of the decoder.
        frozen: Whether the encoder stays as it is.
    """

    def __init__(self, encoder: DenseEncoder, *, classes: int, config: DecoderConfig, frozen: bool) -> None:
        super().__init__(encoder, frozen=frozen)
        self.decoder = UNetDecoder(encoder.channels, encoder.strides, classes=classes, config=config)

    def smallest_convolved(self, edge: int) -> int:
        """See `TransferNetwork`. The decoder begins at twice the resolution of the deepest level."""
        return min(super().smallest_convolved(edge) or edge, 2 * edge // self.encoder.strides[-1])

    def forward(self, images_B1XYZ: Tensor) -> Tensor:
        """Return logits (B, K, X, Y, Z)."""
        logits: Tensor = self.decoder(images_B1XYZ, self.features(images_B1XYZ))
        return logits


class ClassificationNetwork(TransferNetwork):
    """Volumes to finding logits (B, F): one linear layer on the pooled deepest level.

    Args:
        encoder: Gives the feature maps.
        findings: Outputs.
        frozen: Whether the encoder stays as it is.
    """

    def __init__(self, encoder: DenseEncoder, *, findings: int, frozen: bool) -> None:
        super().__init__(encoder, frozen=frozen)
        self.norm = nn.LayerNorm(2 * encoder.channels[-1])
        self.linear = nn.Linear(2 * encoder.channels[-1], findings)

    def forward(self, images_B1XYZ: Tensor) -> Tensor:
        """Return logits (B, F)."""
        logits: Tensor = self.linear(self.norm(pooled(self.features(images_B1XYZ)[-1])))
        return logits


def pooled(grid_BCxyz: Tensor) -> Tensor:
    """Mean and maximum of a feature map, (B, 2 C): the whole, and the one place that stands out."""
    return torch.cat([grid_BCxyz.mean(dim=(2, 3, 4)), grid_BCxyz.amax(dim=(2, 3, 4))], dim=1)
