"""Sizes that follow from an encoder's config, before there is an encoder."""

from __future__ import annotations

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder_config import EncoderConfig
from colipri_core.model.encoder_config import ResNetConfig
from colipri_core.model.encoder_config import SwinConfig


def deepest_stride(encoder: EncoderConfig) -> int:
    """Voxels between neighbours of an encoder's deepest features, of which every axis of a crop must be a multiple."""
    match encoder:
        case ResNetConfig():
            return 2 ** (len(encoder.planes) - 1) * encoder.stem_stride * (2 if encoder.max_pool else 1)
        case SwinConfig():
            return 2 ** (len(encoder.depths) + 1)
    return encoder.patch_size


def deepest_channels(encoder: EncoderConfig) -> int:
    """Channels of an encoder's deepest features."""
    match encoder:
        case ResNetConfig():
            return encoder.planes[-1] * (4 if encoder.block == "bottleneck" else 1)
        case SwinConfig():
            return encoder.width * 2 ** len(encoder.depths)
    return encoder.width


def smallest_convolved(encoder: EncoderConfig, edge: int, *, decoded: bool) -> int | None:
    """Cells along an axis of the smallest map that a 3 x 3 x 3 convolution reads; None if none does.

    Args:
        encoder: Sizes of the encoder.
        edge: Voxels of the volume along this axis.
        decoded: Whether T3D's restoration decoder, which convolves all levels but the deepest, is on top of it.
    """
    stride = deepest_stride(encoder)
    match encoder:
        case SwinConfig():
            stride = stride // 2 if decoded else 0
        case ImageEncoderConfig(stem=()):
            stride = 0
    return edge // stride if stride else None
