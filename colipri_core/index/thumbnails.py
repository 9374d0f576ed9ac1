"""Small pictures of a scan: one slice through its middle in each plane, seen as radiologists see it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.cases import PLANES
from colipri_core.volume import Volume

SIZE = 96
"""Longer side in pixels (our choice: legible beside two others in a panel)."""

WINDOW_HU = (-1350.0, 150.0)
"""The lung window, level -600 and width 1500."""

_ORIENTATION = "LPI"
"""Voxel axes that run as a picture does: to the right of the screen is the patient's left, and down is P or I."""


def thumbnails(volume: Volume) -> dict[str, bytes]:
    """Return a PNG picture for each plane.

    The patient's left is at the right of the picture, and the front or the head is up; in the sagittal plane the front
    is at the left. An oblique volume is shown along its own nearest axes.

    Args:
        volume: The scan, in HU.
    """
    upright = volume.reoriented(_ORIENTATION)
    middle = [size // 2 for size in upright.shape]
    voxels = upright.voxels
    slices = (voxels[:, :, middle[2]].T, voxels[:, middle[1], :].T, voxels[middle[0], :, :].T)
    left, back, down = upright.spacing
    spacings = ((back, left), (down, left), (down, back))
    return {
        plane: _png(_gray(_resized(np.asarray(pixels), spacing)))
        for plane, pixels, spacing in zip(PLANES, slices, spacings, strict=True)
    }


def _resized(pixels: npt.NDArray[Any], spacing: tuple[float, float]) -> npt.NDArray[Any]:
    """Take the nearest pixels of a grid with square cells whose longer side is `SIZE`."""
    extent = np.asarray(pixels.shape) * np.asarray(spacing)
    step = extent.max() / SIZE
    rows, columns = (
        np.clip(((np.arange(max(1, round(length / step))) + 0.5) * step / space).astype(int), 0, size - 1)
        for length, space, size in zip(extent, spacing, pixels.shape, strict=True)
    )
    return pixels[np.ix_(rows, columns)]


def _gray(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    low, high = WINDOW_HU
    values = np.nan_to_num(pixels.astype(np.float32), nan=low)
    return np.asarray(np.clip((values - low) / (high - low) * 255, 0, 255), dtype=np.uint8)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
