"""Sliding-window encoding: volumes larger than one window become tokens on one large patch grid.

Windows do not overlap and rotary positions are local to each, as in the official package. A volume that is not a
multiple of the window is padded at the end of each axis with its own minimum, because a shifted last window would
not fall on the patch grid; tokens that are nothing but padding are dropped again (both our choice: the official
package leaves the case open). Naming: B batch, C channels, XYZ voxels, xyz patch grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import EllipsisType
from typing import Protocol

from einops import rearrange
from einops import reduce
from torch import Tensor

from colipri_core.model.encoder import BlockHook
from colipri_core.progress import Reporter

Triple = tuple[int, int, int]


class GridEncoder(Protocol):
    """Volumes to a grid of features."""

    @property
    def patch_size(self) -> int:
        """Voxels between neighbours of the grid."""
        ...

    def features(self, images_BCXYZ: Tensor, on_block: BlockHook | None = None) -> Tensor:
        """Encode volumes whose axes are multiples of the patch size to (B, C, x, y, z).

        Raises:
            ValueError: If they do not divide.
        """
        ...


def encode_windows(encoder: GridEncoder, images_BCXYZ: Tensor, window: Triple, report: Reporter) -> Tensor:
    """Encode volumes window by window, each window of the batch in one pass.

    Args:
        encoder: Encodes a window.
        images_BCXYZ: Preprocessed volumes; each axis a multiple of the patch size.
        window: Window shape in voxels; each axis a multiple of the patch size.
        report: Receives the finished fraction after every block of every window; its cancellation ends the work.

    Returns:
        The raw patch grid (B, width, x, y, z) of the whole volume.

    Raises:
        ValueError: If the volume or the window does not divide into patches.
        Cancelled: If the reporter's cancel token is set.
    """
    patch = encoder.patch_size
    if any(w < patch or w % patch for w in window):
        msg = f"window must be multiples of the {patch}-voxel patch, got {window}"
        raise ValueError(msg)
    if any(n % patch for n in images_BCXYZ.shape[2:]):
        msg = f"each axis must be a multiple of {patch} voxels, got {tuple(images_BCXYZ.shape)}; crop or pad first"
        raise ValueError(msg)
    grid = [n // patch for n in images_BCXYZ.shape[2:]]
    padded = pad_to_multiple(images_BCXYZ, window)
    starts = list(itertools.product(*(range(0, n, w) for n, w in zip(padded.shape[2:], window, strict=True))))
    tokens = None
    for number, start in enumerate(starts):
        crop = padded[_box(start, window)]
        part = encoder.features(crop, on_block=block_hook(report, number, len(starts)))
        if tokens is None:
            tokens = part.new_empty((*part.shape[:2], *(n // patch for n in padded.shape[2:])))
        tokens[_box([s // patch for s in start], part.shape[2:])] = part
    assert tokens is not None
    return tokens[_box((0, 0, 0), grid)]


def block_hook(report: Reporter, window_number: int, num_windows: int) -> BlockHook:
    """Return a hook that reports the blocks of one window as a fraction of all windows."""

    def on_block(done: int, total: int) -> None:
        what = f"window {window_number + 1} of {num_windows}" if num_windows > 1 else "the volume"
        report((window_number + done / total) / num_windows, f"Encoding {what}: block {done} of {total}")

    return on_block


def pad_to_multiple(images_BCXYZ: Tensor, window: Triple) -> Tensor:
    """Pad the end of each spatial axis to a multiple of the window with each volume's own minimum."""
    missing = [-n % w for n, w in zip(images_BCXYZ.shape[2:], window, strict=True)]
    if not any(missing):
        return images_BCXYZ
    shape = (*images_BCXYZ.shape[:2], *(n + m for n, m in zip(images_BCXYZ.shape[2:], missing, strict=True)))
    minimum = rearrange(reduce(images_BCXYZ, "b c x y z -> b", "min"), "b -> b 1 1 1 1")
    padded = minimum.expand(shape).clone()
    padded[_box((0, 0, 0), images_BCXYZ.shape[2:])] = images_BCXYZ
    return padded


def _box(start: Sequence[int], shape: Sequence[int]) -> tuple[EllipsisType | slice, ...]:
    """Return the index of a box in the last three axes of a tensor."""
    return (..., *(slice(s, s + n) for s, n in zip(start, shape, strict=True)))
