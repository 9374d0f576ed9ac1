"""Key images: the axial slice through a place, with the heat map and a ring around the place, as PNG.

Slices are shown the radiological way, the patient's right on the left of the picture, in the volume's own planes. The
CT window is that for lungs where the place is aerated, else that for soft tissue (our choice).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.findings import EvidenceMap
from colipri_core.geometry import reorient_array
from colipri_core.report import Place
from colipri_core.volume import Volume

WIDTH = 384
"""Pixels; the height follows from the field of view."""

_DISPLAY = "LPS"
_LUNG, _SOFT_TISSUE = (-1350.0, 150.0), (-160.0, 240.0)
_AERATED_HU = -300.0
_NEIGHBOURHOOD_MM = 12.0
_HEAT = np.array([249.0, 142.0, 9.0])
_OPACITY = 0.6
_FLOOR_PERCENTILE = 90.0
_RING_MM = 12.0

Picture = npt.NDArray[np.float64]


def key_image(volume: Volume, place: Place, evidence: EvidenceMap | None = None) -> bytes:
    """Return a PNG of the slice through a place.

    Args:
        volume: The CT.
        place: RAS+ mm; a place outside the volume is moved to its rim.
        evidence: Heat map on the volume's grid, laid over the slice.
    """
    from PIL import Image
    from PIL import ImageDraw

    geometry = volume.geometry.reoriented(_DISPLAY)
    last = np.asarray(geometry.shape) - 1
    index = np.clip(np.round(geometry.world_to_index(place)), 0, last).astype(int)
    voxels = reorient_array(volume.voxels, volume.orientation, _DISPLAY)
    shades = _windowed(voxels, index, geometry.spacing)
    if evidence is not None:
        shades = _heated(shades, evidence, index[2])
    columns, rows = geometry.shape[:2]
    pixels = WIDTH / (columns * geometry.spacing[0])
    size = (WIDTH, max(1, round(rows * geometry.spacing[1] * pixels)))
    picture = Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8).transpose(1, 0, 2)).resize(size)
    x, y = ((index[axis] + 0.5) * geometry.spacing[axis] * pixels for axis in (0, 1))
    radius = _RING_MM * pixels
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), outline=(255, 255, 255), width=2)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _windowed(voxels: npt.NDArray[Any], index: npt.NDArray[Any], spacing: tuple[float, float, float]) -> Picture:
    """Grey values (i, j, 3) of the slice at an index."""
    reach = [max(1, round(_NEIGHBOURHOOD_MM / step)) for step in spacing]
    around = tuple(slice(max(0, i - r), i + r + 1) for i, r in zip(index.tolist(), reach, strict=True))
    low, high = _LUNG if float(np.mean(voxels[around])) < _AERATED_HU else _SOFT_TISSUE
    plane = voxels[:, :, index[2]].astype(np.float64)
    grey = np.nan_to_num((plane - low) / (high - low)) * 255
    return np.repeat(np.clip(grey, 0, 255)[:, :, None], 3, axis=2)


def _heated(shades: Picture, evidence: EvidenceMap, k: int) -> Picture:
    """Blend the map in, from its 90th percentile (at least 0) up to its peak."""
    values = reorient_array(evidence.values, evidence.geometry.orientation, _DISPLAY)
    seen = evidence.values[np.isfinite(evidence.values)]
    if not seen.size or float(seen.max()) <= 0:
        return shades
    low = max(float(np.percentile(seen, _FLOOR_PERCENTILE)), 0.0)
    plane = np.nan_to_num(values[:, :, k].astype(np.float64), nan=low)
    share = np.clip((plane - low) / max(float(seen.max()) - low, 1e-6), 0, 1) * _OPACITY
    blended: Picture = shades * (1 - share[:, :, None]) + _HEAT * share[:, :, None]
    return blended
