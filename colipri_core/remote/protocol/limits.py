"""How large what comes over the wire may be; checked before anything is allocated."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that a reader of frames keeps. The defaults are our choice.

    Args:
        header_bytes: Longest JSON header of a frame, and longest JSON body.
        frame_bytes: Longest frame, as it travels.
        array_bytes: Largest array, unpacked.
        arrays: Most arrays in a frame.
        voxels: Most voxels of a volume.
        axis: Most voxels along one axis.
        steps: Most steps of a history that is restored.
    """

    header_bytes: int = 8 << 20
    frame_bytes: int = 2 << 30
    array_bytes: int = 4 << 30
    arrays: int = 16
    voxels: int = 1 << 29
    axis: int = 8192
    steps: int = 100_000


DEFAULT_LIMITS = Limits()
