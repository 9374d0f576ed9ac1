"""Draw the icons of the Slicer extension: a chest slice with a warm spot, in the sizes Slicer and its index ask for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

EXTENSION = Path(__file__).resolve().parents[1] / "slicer_extension"
ICONS = {
    "Colipri.png": 128,
    "Colipri/Resources/Icons/Colipri.png": 128,
    "Colipri/Resources/Icons/ColipriSample.png": 128,
    "SegmentEditorColipri/Resources/Icons/SegmentEditorColipri.png": 128,
    "SegmentEditorColipri/SegmentEditorColipriLib/SegmentEditorEffect.png": 42,
}
"""File -> its width and height in pixels."""

BODY, LUNG, SPINE = (205, 212, 222), (32, 44, 66), (245, 246, 248)
HEAT = ((120, 28, 109), (237, 105, 37), (252, 255, 164))
_OVERSAMPLING = 4


def draw(size: int) -> Image.Image:
    """Draw the icon.

    Args:
        size: Width and height in pixels.
    """
    wide = size * _OVERSAMPLING
    y, x = np.mgrid[0:wide, 0:wide] / (wide - 1) * 2 - 1
    pixels = np.zeros((wide, wide, 4), dtype=np.uint8)
    pixels[ellipse(x, y, (0.0, 0.0), (0.96, 0.72))] = (*BODY, 255)
    for side in (-1.0, 1.0):
        pixels[ellipse(x, y, (0.44 * side, -0.04), (0.36, 0.50))] = (*LUNG, 255)
    pixels[ellipse(x, y, (0.0, 0.50), (0.15, 0.13))] = (*SPINE, 255)
    for radius, color in zip((0.23, 0.155, 0.08), HEAT, strict=True):
        pixels[ellipse(x, y, (0.48, 0.10), (radius, radius))] = (*color, 255)
    return Image.fromarray(pixels, "RGBA").resize((size, size), Image.Resampling.LANCZOS)


def ellipse(x: np.ndarray, y: np.ndarray, center: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Which pixels lie in an ellipse; coordinates run from -1 to 1."""
    inside: np.ndarray = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2 <= 1.0
    return inside


def main() -> int:
    """Write all icons."""
    for name, size in ICONS.items():
        path = EXTENSION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(size).save(path, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
