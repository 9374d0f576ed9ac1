"""What the browser is given to draw: the CT, its labels and its maps on one grid that does not freeze it.

A browser holds every voxel several times (the file, an integer texture, two RGBA textures), and without a GPU it draws
them on the CPU. So a CT above the page's budget is shown reduced: whole factors per axis, the finest axis first, CT
by the mean of each block, labels by its central voxel. Results are always computed on all voxels; the page says how
it shows them, and asks the server for the HU under the cursor.
"""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import math
from typing import Any
from typing import Literal

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import VolumeGeometry

DEFAULT_BUDGET = 24_000_000
"""Voxels shown at most with a GPU (our choice: about 350 MB of textures in NiiVue 0.69)."""

SMALLEST_BUDGET = 100_000

_NIFTI_LABEL_INTENT = 1002
_FLOOR_PERCENTILE = 90.0
_HEAT_STEPS = 255
_SAMPLE = 200_003
"""About as many values decide on the limits of a heat map; a prime, so that no axis is favoured."""

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DisplayGrid:
    """A volume's grid, reduced by whole factors.

    Args:
        source: The volume's grid.
        factors: How many voxels along i, j, k make one that is shown.
    """

    source: VolumeGeometry
    factors: tuple[int, int, int]

    @classmethod
    def within(cls, source: VolumeGeometry, budget: int) -> DisplayGrid:
        """Return the finest grid of at most `budget` voxels; the finest axis is halved first.

        Args:
            source: The volume's grid.
            budget: Voxels at most.

        Raises:
            ValueError: If the budget is below `SMALLEST_BUDGET`.
        """
        if budget < SMALLEST_BUDGET:
            msg = f"Expected a budget of at least {SMALLEST_BUDGET} voxels, got {budget}."
            raise ValueError(msg)
        factors = [1, 1, 1]
        while math.prod(_shown(source.shape, factors)) > budget:
            reducible = [axis for axis in range(3) if source.shape[axis] // (factors[axis] + 1) >= 1]
            axis = min(reducible, key=lambda axis: source.spacing[axis] * factors[axis])
            factors[axis] += 1
        return cls(source=source, factors=(factors[0], factors[1], factors[2]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels shown along i, j, k; a rest that fills no block is left out at the far end."""
        return _shown(self.source.shape, self.factors)

    @property
    def is_reduced(self) -> bool:
        """Whether fewer voxels are shown than there are."""
        return self.factors != (1, 1, 1)

    @property
    def geometry(self) -> VolumeGeometry:
        """The grid that is shown: a block's voxel lies at the centre of the block."""
        factors = np.asarray(self.factors, dtype=np.float64)
        affine = self.source.affine.copy()
        affine[:3, :3] = self.source.affine[:3, :3] * factors
        affine[:3, 3] = self.source.index_to_world((factors - 1) / 2)
        return VolumeGeometry(shape=self.shape, affine=affine)

    def mean(self, values: Array) -> Array:
        """Average blocks of a volume; integers are rounded. A plane of blocks at a time, to bound the memory.

        Args:
            values: Array `[i, j, k]` on the source's grid.
        """
        if not self.is_reduced:
            return values
        i, j, k = self.factors
        shape = self.shape
        out = np.empty(shape, dtype=values.dtype, order="F")
        for plane in range(shape[2]):
            total = np.zeros(shape[:2], dtype=np.float32, order="F")
            for a, b, c in itertools.product(range(i), range(j), range(k)):
                total += values[a : shape[0] * i : i, b : shape[1] * j : j, plane * k + c]
            total /= i * j * k
            out[:, :, plane] = np.rint(total) if values.dtype.kind in "iu" else total
        return out

    def nearest(self, values: Array) -> Array:
        """Take the central voxel of each block, for labels and for maps that are smooth.

        Args:
            values: Array `[i, j, k]` on the source's grid.
        """
        picked = values[tuple(slice(factor // 2, None, factor) for factor in self.factors)]
        return picked[tuple(slice(size) for size in self.shape)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeatLimits:
    """From where to where a heat map is coloured.

    Args:
        low: Below it nothing is drawn.
        high: Drawn brightest.
    """

    low: float
    high: float

    @classmethod
    def of(cls, values: Array, peak: float) -> HeatLimits:
        """Return limits that leave the background clear: the 90th percentile (at least 0, if anything is above) up.

        Args:
            values: The map; NaN where the model did not look.
            peak: Its highest value.
        """
        flat = values.ravel(order="K")
        sample = flat[:: max(1, flat.size // _SAMPLE)]
        seen = sample[np.isfinite(sample)]
        floor = float(np.percentile(seen, _FLOOR_PERCENTILE)) if seen.size else peak
        low = max(floor, 0.0) if peak > 0.0 else floor
        return cls(low=low, high=peak) if peak > low else cls(low=peak - 1e-3, high=peak)


def ct_nifti(values: Array, grid: DisplayGrid) -> bytes:
    """Return a CT as gzipped NIfTI on the display grid.

    Args:
        values: Voxels on the source's grid.
        grid: The display grid.
    """
    shown = grid.mean(values)
    if shown.dtype.name not in {"uint8", "int16", "uint16", "float32"}:
        fits = shown.dtype.kind in "iu" and shown.min() >= -(2**15) and shown.max() < 2**15
        shown = shown.astype(np.int16 if fits else np.float32)
    return _nifti(shown, grid.geometry)


def labels_nifti(labelmap: Array, grid: DisplayGrid) -> bytes:
    """Return a labelmap as gzipped NIfTI on the display grid.

    Args:
        labelmap: Unsigned labels on the source's grid.
        grid: The display grid.
    """
    return _nifti(grid.nearest(labelmap), grid.geometry, intent="label")


def heat_nifti(values: Array, grid: DisplayGrid, limits: HeatLimits) -> bytes:
    """Return a heat map as gzipped NIfTI of 8 bit, scaled to its limits; 0 is "nothing to draw".

    Args:
        values: The map on the source's grid; NaN where the model did not look.
        grid: The display grid.
        limits: What is drawn.
    """
    shown = grid.nearest(values)
    span = limits.high - limits.low
    with np.errstate(invalid="ignore"):
        steps = np.nan_to_num((shown - limits.low) * (_HEAT_STEPS / span), nan=0.0)
    return _nifti(np.clip(np.rint(steps), 0, _HEAT_STEPS).astype(np.uint8), grid.geometry)


def _shown(shape: tuple[int, int, int], factors: list[int] | tuple[int, int, int]) -> tuple[int, int, int]:
    i, j, k = (size // factor for size, factor in zip(shape, factors, strict=True))
    return i, j, k


def _nifti(voxels: Array, geometry: VolumeGeometry, *, intent: Literal["none", "label"] = "none") -> bytes:
    import nibabel

    image = nibabel.Nifti1Image(voxels, geometry.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(geometry.affine, code=1)
    image.set_qform(None)
    if intent == "label":
        image.header["intent_code"] = _NIFTI_LABEL_INTENT
    return gzip.compress(image.to_bytes(), compresslevel=1)
