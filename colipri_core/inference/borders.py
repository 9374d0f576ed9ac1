"""Borders of an answer: whether there is one to be seen, and where one to air lies.

An answer around which everything looks like its inside is a piece of something larger, so the segmenter looks wider.

An outline of a nodule or a lung ends where half of a cell is air, however blurred the scan is. Between tissue and air
the intensities fall over 700 HU and more, and in thick slices they take several cells to do so; the network, to which
a cell 300 HU away from what was clicked mostly is something else, stops at the first of them. Where most of what lies
around an answer differs from it that much, cells beside it that are nearer to its inside than to its outside, as the
two are a few cells away, are added. All figures are our choice; they were tried on the real objects of
`benchmarks/clicks.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from colipri_core.prompts.crop import Slices
from colipri_core.prompts.crop import bounding_box
from colipri_core.prompts.regions import CellMask
from colipri_core.prompts.regions import Cells

_REACH = 3
_RING = 2
_SIGMA = 2.0
_CONTRAST_HU = 400.0
_BLURRED = (0.5, 0.95)
_FELT = 1e-3
_UNLIKE = 2.0
_NOISE_HU = 3.0
_FEWEST = 20


def seen_around(inside: CellMask, hu: Cells) -> float:
    """Return how much of what lies around an answer does not look like its inside: a share in [0, 1]; 0 if it is empty.

    A cell one to three beside the answer is unlike it if it is two standard deviations of the inside or more away from
    its median; both are robust, and 3 HU of noise are taken for granted.

    Args:
        inside: Cells of the answer.
        hu: Intensities of the cells.
    """
    box = bounding_box(inside)
    if box is None:
        return 0.0
    i, j, k = _wider(box, _REACH, inside.shape)
    answer, values = inside[i, j, k], hu[i, j, k]
    core = ndimage.binary_erosion(answer, border_value=1)
    own = values[core] if core.sum() > _FEWEST else values[answer]
    around = ndimage.binary_dilation(answer, iterations=_REACH) & ~ndimage.binary_dilation(answer)
    if not around.any():
        return 0.0
    median = float(np.median(own))
    deviation = 1.4826 * float(np.median(np.abs(own - median))) + _NOISE_HU
    return float((np.abs(values[around] - median) > _UNLIKE * deviation).mean())


def to_air(inside: CellMask, hu: Cells, *, forbidden: CellMask) -> CellMask:
    """Return an answer with the blurred border to air that belongs to it; as it is if it does not lie in air.

    Args:
        inside: Cells of the answer.
        hu: Intensities of the cells.
        forbidden: Cells that are not to be added.
    """
    box = bounding_box(inside)
    if box is None:
        return inside
    i, j, k = _wider(box, _REACH + _RING, inside.shape)
    answer, values = inside[i, j, k], hu[i, j, k]
    near = ndimage.binary_dilation(answer, iterations=_REACH)
    ring = ndimage.binary_dilation(near, iterations=_RING) & ~near
    if not ring.any() or abs(float(np.median(values[ring])) - float(np.median(values[answer]))) < _CONTRAST_HU:
        return inside
    (within, felt_within), (without, felt_without) = _means(answer, values), _means(~near, values)
    contrast = within - without
    known = (felt_within > _FELT) & (felt_without > _FELT) & (np.abs(contrast) > _CONTRAST_HU)
    share = np.divide(values - without, contrast, out=np.zeros_like(values), where=known)
    blurred = near & known & (share > _BLURRED[0]) & (share < _BLURRED[1]) & ~forbidden[i, j, k]
    grown = inside.copy()
    grown[i, j, k] = ndimage.binary_propagation(answer, mask=answer | blurred)
    return grown


def _wider(box: Slices, margin: int, shape: tuple[int, ...]) -> Slices:
    i, j, k = (slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(box, shape, strict=True))
    return i, j, k


def _means(part: CellMask, values: Cells) -> tuple[Cells, npt.NDArray[np.float32]]:
    """Local mean of the values of a part, and how much of it is near."""
    weight = ndimage.gaussian_filter(part.astype(np.float32), _SIGMA, truncate=3.0)
    total = ndimage.gaussian_filter(np.where(part, values, np.float32(0)), _SIGMA, truncate=3.0)
    return total / np.maximum(weight, np.float32(_FELT)), weight
