"""StructureHead: outlines anatomical structures from the volume and the encoder's tokens; see `TokenUNet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from colipri_core.model.config import JsonConfig
from colipri_core.model.config import check_patch_size
from colipri_core.model.token_unet import TokenUNet


@dataclass(frozen=True, kw_only=True)
class StructureHeadConfig(JsonConfig):
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
        check_patch_size(self.patch_size)
        object.__setattr__(self, "structures", tuple(self.structures))

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values that ``from_json`` reads back."""
        return {**super().to_json(), "structures": list(self.structures)}


class StructureHead(TokenUNet):
    """Volume (B, 1, X, Y, Z) and tokens (B, C, x, y, z) to class logits (B, K, X, Y, Z), 0 the background.

    Args:
        config: Sizes and classes.
    """

    def __init__(self, config: StructureHeadConfig) -> None:
        super().__init__(
            token_width=config.token_width,
            patch_size=config.patch_size,
            channels=config.channels,
            values=len(config.structures) + 1,
        )
        self.config = config
