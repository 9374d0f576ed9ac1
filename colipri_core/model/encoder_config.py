"""EncoderConfig: sizes of an image encoder that gives dense features, whichever of three families it is of.

Primus is the encoder of COLIPRI (`ImageEncoderConfig`); the two others are backbones of MONAI, as T3D and its
relatives use them. Torch-free, for specs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from typing import Any
from typing import Literal

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.config import check_keys
from colipri_core.model.config import check_positive

_GROUPS = 8
_STAGES = 4


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Sizes of a 3D residual network; the defaults are those of ResNet-50.

    Attributes:
        kind: The family.
        block: "basic" (two convolutions) or "bottleneck" (three, with four times the channels at its end).
        layers: Blocks of each of the four stages.
        planes: Channels of each stage, before a bottleneck's factor of four; multiples of 8, the groups of its norms.
        stem_kernel: Edge of the first convolution, in voxels.
        stem_stride: Its stride.
        max_pool: Whether its result is halved before the first stage, as published; without it the deepest features
            have half the stride, and the first convolution gives no level of its own.
    """

    kind: Literal["resnet"] = "resnet"
    block: Literal["basic", "bottleneck"] = "bottleneck"
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    planes: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem_kernel: int = 7
    stem_stride: int = 2
    max_pool: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        check_positive(self, ("stem_kernel", "stem_stride"))
        _four(self, ("layers", "planes"))
        if any(planes % _GROUPS for planes in self.planes):
            msg = f"ResNetConfig.planes must be multiples of {_GROUPS}, got {self.planes}"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Sizes of the encoder of SwinUNETR; the defaults are those of its paper (Hatamizadeh et al., 2022).

    Attributes:
        kind: The family.
        width: Channels of the first level; every deeper one has twice as many.
        depths: Blocks of each of the four stages.
        heads: Attention heads of each stage.
        window: Edge of an attention window, in tokens.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
    """

    kind: Literal["swin"] = "swin"
    width: int = 48
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    window: int = 7
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        check_positive(self, ("width", "window"))
        _four(self, ("depths", "heads"))
        if any(self.width * 2**stage % heads for stage, heads in enumerate(self.heads)):
            msg = f"SwinConfig.width, doubled a stage, must be a multiple of its heads, got {self.width}, {self.heads}"
            raise ValueError(msg)


EncoderConfig = ImageEncoderConfig | ResNetConfig | SwinConfig
"""Sizes of an encoder of any family."""

_KINDS: dict[str, type[EncoderConfig]] = {"primus": ImageEncoderConfig, "resnet": ResNetConfig, "swin": SwinConfig}


def encoder_kind(config: EncoderConfig) -> str:
    """Name of the family: "primus", "resnet" or "swin"."""
    return "primus" if isinstance(config, ImageEncoderConfig) else config.kind


def encoder_to_json(config: EncoderConfig) -> dict[str, Any]:
    """Return plain JSON values, the family under "kind", that `encoder_from_json` reads back."""
    return {"kind": encoder_kind(config), **asdict(config)}


def encoder_from_json(document: Mapping[str, Any]) -> EncoderConfig:
    """Read what `encoder_to_json` wrote.

    Raises:
        ValueError: If the family is unknown, a key is missing or unknown (named in the message), or a size impossible.
    """
    kind = document.get("kind") if isinstance(document, Mapping) else None
    if kind not in _KINDS:
        msg = f"encoder.kind must be one of {sorted(_KINDS)}, got {kind!r}; update this package"
        raise ValueError(msg)
    known = _KINDS[kind]
    check_keys("encoder", document, {"kind", *(field.name for field in fields(known))})
    return known(**{name: value for name, value in document.items() if name != "kind"})


def _four(config: ResNetConfig | SwinConfig, names: tuple[str, ...]) -> None:
    """Make lists of JSON tuples, and refuse what is not one positive whole number for each stage."""
    for name in names:
        values = tuple(getattr(config, name))
        if len(values) != _STAGES or not all(isinstance(value, int) and value > 0 for value in values):
            msg = f"{type(config).__name__}.{name} must be {_STAGES} positive whole numbers, got {values}"
            raise ValueError(msg)
        object.__setattr__(config, name, values)
