"""Image encoders that give dense features: Primus, and the 3D ResNet and the SwinUNETR encoder of MONAI.

All of them turn volumes into feature maps, the coarsest last, and say how many channels and which stride each has; what
is built on top (decoders, heads, probes) needs to know no more. None of them normalises over a batch: a volume's
features do not depend on what else is in it, so N processes compute what one does. Naming: B volumes, XYZ voxels.
"""

from __future__ import annotations

from typing import Protocol
from typing import runtime_checkable

import torch
from einops import rearrange
from monai.networks.nets.resnet import ResNet
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor
from torch import nn
from torch.utils.checkpoint import checkpoint

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder import ImageBackbone
from colipri_core.model.encoder_config import EncoderConfig
from colipri_core.model.encoder_config import ResNetConfig
from colipri_core.model.encoder_config import SwinConfig

_GROUPS = 8
_EXPANSION = {"basic": 1, "bottleneck": 4}
_SWIN_LEVELS = 5


@runtime_checkable
class DenseEncoder(Protocol):
    """Volumes to feature maps.

    Attributes:
        config: Its sizes.
        channels: Channels of each feature map.
        strides: Voxels between neighbours of each feature map, rising; every axis of a volume must be a multiple of
            the last.
        activation_checkpointing: Compute stages again in the backward pass instead of storing their activations.
    """

    config: EncoderConfig
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    activation_checkpointing: bool

    def __call__(self, images_B1XYZ: Tensor) -> list[Tensor]:
        """Encode volumes.

        Args:
            images_B1XYZ: Values in [-1, 1].

        Returns:
            Feature maps (B, channels[l], X / strides[l], Y / strides[l], Z / strides[l]), the coarsest last.

        Raises:
            ValueError: If the volumes do not divide by the last stride.
        """
        ...


class PrimusEncoder(nn.Module):
    """The encoder of COLIPRI as a dense one: its patch grid is the only level.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.channels: tuple[int, ...] = (config.width,)
        self.strides: tuple[int, ...] = (config.patch_size,)
        self.backbone = ImageBackbone(config)

    @property
    def activation_checkpointing(self) -> bool:
        """See `DenseEncoder`."""
        return self.backbone.eva.activation_checkpointing

    @activation_checkpointing.setter
    def activation_checkpointing(self, wanted: bool) -> None:
        self.backbone.eva.activation_checkpointing = wanted

    def forward(self, images_B1XYZ: Tensor) -> list[Tensor]:
        """See `DenseEncoder`."""
        x, y, z = self.backbone.grid_shape(images_B1XYZ)
        return [rearrange(self.backbone(images_B1XYZ), "b (x y z) c -> b c x y z", x=x, y=y, z=z)]


class ResNetEncoder(nn.Module):
    """MONAI's 3D ResNet without its classifier; group norm in place of batch norm.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = False
        deep = tuple(planes * _EXPANSION[config.block] for planes in config.planes)
        first = config.stem_stride * (2 if config.max_pool else 1)
        stem = config.max_pool
        self.channels: tuple[int, ...] = ((config.planes[0],) if stem else ()) + deep
        self.strides: tuple[int, ...] = ((config.stem_stride,) if stem else ()) + tuple(
            first * 2**stage for stage in range(len(deep))
        )
        net = ResNet(
            config.block,
            list(config.layers),
            list(config.planes),
            n_input_channels=1,
            conv1_t_size=config.stem_kernel,
            conv1_t_stride=config.stem_stride,
            no_max_pool=not config.max_pool,
            feed_forward=False,
            bias_downsample=False,
        )
        _group_norms(net)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.act)
        self.pool = net.maxpool if config.max_pool else nn.Identity()
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])

    def forward(self, images_B1XYZ: Tensor) -> list[Tensor]:
        """See `DenseEncoder`."""
        check_divides(images_B1XYZ, self.strides[-1])
        x = self.stem(images_B1XYZ)
        levels = [x] if self.config.max_pool else []
        x = self.pool(x)
        for stage in self.stages:
            if self.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
            levels.append(x)
        return levels


class SwinEncoder(nn.Module):
    """The encoder of MONAI's SwinUNETR: patches of 2 voxels, four stages of windowed attention, five levels.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.channels: tuple[int, ...] = tuple(config.width * 2**level for level in range(_SWIN_LEVELS))
        self.strides: tuple[int, ...] = tuple(2 ** (level + 1) for level in range(_SWIN_LEVELS))
        self.swin = SwinTransformer(
            in_chans=1,
            embed_dim=config.width,
            window_size=(config.window,) * 3,
            patch_size=(2,) * 3,
            depths=config.depths,
            num_heads=config.heads,
            drop_path_rate=config.drop_path,
        )

    @property
    def activation_checkpointing(self) -> bool:
        """See `DenseEncoder`."""
        return any(getattr(module, "use_checkpoint", False) for module in self.swin.modules())

    @activation_checkpointing.setter
    def activation_checkpointing(self, wanted: bool) -> None:
        for module in self.swin.modules():
            if hasattr(module, "use_checkpoint"):
                setattr(module, "use_checkpoint", wanted)  # noqa: B010 - MONAI's own switch, unknown to torch's types

    def forward(self, images_B1XYZ: Tensor) -> list[Tensor]:
        """See `DenseEncoder`."""
        check_divides(images_B1XYZ, self.strides[-1])
        return list(self.swin(images_B1XYZ))


AnyEncoder = PrimusEncoder | ResNetEncoder | SwinEncoder
"""The encoders that there are."""


def build_encoder(config: EncoderConfig) -> AnyEncoder:
    """Make an encoder with fresh weights.

    Args:
        config: Its sizes; their class decides which one it is.
    """
    match config:
        case ResNetConfig():
            return ResNetEncoder(config)
        case SwinConfig():
            return SwinEncoder(config)
    return PrimusEncoder(config)


def _group_norms(network: nn.Module) -> None:
    """Put a group norm in the place of every batch norm; the stages of MONAI's ResNet (1.6) heed no other wish."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm3d):
                setattr(module, name, nn.GroupNorm(_GROUPS, child.num_features))


def check_divides(images_B1XYZ: Tensor, stride: int) -> None:
    """Refuse volumes whose axes are no multiples of a stride.

    Raises:
        ValueError: If they are not, or the batch has not one channel and three axes.
    """
    match tuple(images_B1XYZ.shape):
        case (_, 1, x, y, z) if not (x % stride or y % stride or z % stride):
            return
    msg = (
        f"images must have shape (batch, 1, X, Y, Z) with each axis a multiple of {stride} voxels, "
        f"got {tuple(images_B1XYZ.shape)}; crop or pad first"
    )
    raise ValueError(msg)
