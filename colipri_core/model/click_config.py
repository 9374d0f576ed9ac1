"""ClickNetworkConfig: the sizes of the interactive segmenter's network, torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from colipri_core.model.config import JsonConfig
from colipri_core.model.config import check_positive

FOLD = 2
"""Voxels of an edge that become one cell of the network's shallowest level."""


@dataclass(frozen=True, kw_only=True)
class ClickNetworkConfig(JsonConfig):
    """Sizes of the network.

    Attributes:
        channels: Channels of the shallowest level; each deeper level has twice as many, up to `widest`.
        levels: Halvings below the folded input.
        widest: Largest number of channels.
        contrast_hu: Half ranges of the two views of the intensities around that of the place pointed at.
        walks_hu: Scales of the random walks it is shown, as `walk.homecoming` has them; may be empty.
    """

    channels: int = 24
    levels: int = 3
    widest: int = 96
    contrast_hu: tuple[float, float] = (60.0, 250.0)
    walks_hu: tuple[float, ...] = (8.0, 25.0)

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        check_positive(self, ("channels", "levels", "widest"))
        object.__setattr__(self, "contrast_hu", tuple(float(value) for value in self.contrast_hu))
        if len(self.contrast_hu) != 2 or min(self.contrast_hu) <= 0:
            msg = f"contrast_hu must be two positive ranges, got {self.contrast_hu}"
            raise ValueError(msg)
        object.__setattr__(self, "walks_hu", tuple(float(value) for value in self.walks_hu))
        if min(self.walks_hu, default=1.0) <= 0:
            msg = f"walks_hu must be positive, got {self.walks_hu}"
            raise ValueError(msg)

    @property
    def stride(self) -> int:
        """The edge of a region must be a multiple of this."""
        return int(FOLD * 2**self.levels)
