"""Regions: the cubes of cells the click network looks at, sampled from a volume of any spacing and pasted back.

A view shows a volume on its own axes, put in the order and sense nearest to R, A, S: no voxel is copied, and the
network sees the same picture however a file stores its axes. Positions in a view are voxel indices of it. A region's
cells are cubes in mm (for sheared affines: along the axes as they are), so thick slices are interpolated and thin ones
averaged; beyond the volume its outer voxels are repeated. Coming back, probabilities are interpolated to the centre of
every voxel, so the mask lies on the volume's own grid to a fraction of a cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import reorient_array
from colipri_core.geometry import reorientation
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.crop import Slices
from colipri_core.prompts.crop import bounding_box
from colipri_core.resample import resample
from colipri_core.volume import Volume

Cells = npt.NDArray[np.float32]
CellMask = npt.NDArray[np.bool_]

_ORIENTATION = "RAS"
_NO_VALUE_HU = -1024.0
_SLAB_VOXELS = 8_000_000
_NEAREST_FROM = 2.0
"""Voxels a cell from which on two voxels a cell and axis are averaged in place of interpolating (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A volume on its axes nearest to R, A, S.

    Args:
        voxels: A view of the volume's voxels.
        geometry: Their place.
        orientation: Axis codes of the volume itself.
    """

    voxels: npt.NDArray[Any]
    geometry: VolumeGeometry
    orientation: str

    @classmethod
    def of(cls, volume: Volume) -> View:
        """Show a volume."""
        voxels = reorient_array(volume.voxels, volume.orientation, _ORIENTATION)
        geometry = volume.geometry.reoriented(_ORIENTATION)
        return cls(voxels=voxels, geometry=geometry, orientation=volume.orientation)

    def into(self, crop: Crop) -> Crop:
        """A mask of the volume, in the view."""
        source = [self.geometry.shape[axis] for axis in reorientation(_ORIENTATION, self.orientation)[0]]
        return _turned(crop, source, self.orientation, _ORIENTATION)

    def back(self, crop: Crop) -> Crop:
        """A mask of the view, in the volume; cut to its voxels."""
        tight = Crop.around(crop.mask, lower=crop.lower)
        return _turned(tight, self.geometry.shape, _ORIENTATION, self.orientation)


def _turned(crop: Crop, shape: Sequence[int], source: str, target: str) -> Crop:
    """Bring a crop on a grid of `shape` and axes `source` to the axes `target`."""
    if crop.is_empty:
        return Crop.empty()
    axes, flips = reorientation(source, target)
    i, j, k = (
        shape[axis] - crop.upper[axis] if flip else crop.lower[axis] for axis, flip in zip(axes, flips, strict=True)
    )
    mask = np.ascontiguousarray(reorient_array(crop.mask, source, target), dtype=bool)
    return Crop(lower=(i, j, k), mask=mask)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """A cube of cells in a view.

    Args:
        lower: Position of the centre of the first cell.
        step: Distance of neighbouring cells along each axis, in voxels.
        size: Cells along an edge.
        spacing_mm: Distance of neighbouring cells in mm.
    """

    lower: tuple[float, float, float]
    step: tuple[float, float, float]
    size: int
    spacing_mm: float

    def geometry(self, view: VolumeGeometry) -> VolumeGeometry:
        """Place of the cells in the patient."""
        affine = view.affine.copy()
        affine[:3, :3] = view.affine[:3, :3] * np.asarray(self.step)
        affine[:3, 3] = view.index_to_world(self.lower)
        return VolumeGeometry(shape=(self.size,) * 3, affine=affine)

    def to_cells(self, positions: npt.ArrayLike) -> Points:
        """Map positions in the view (..., 3) to continuous cell indices."""
        return (np.asarray(positions, dtype=np.float64) - self.lower) / self.step

    def voxels(self, cells: Slices, shape: Sequence[int]) -> Slices:
        """Slices of the voxels of the view whose centres lie in a box of cells."""
        box = []
        for part, lower, step, size in zip(cells, self.lower, self.step, shape, strict=True):
            first = int(np.ceil(lower + (part.start - 0.5) * step))
            last = int(np.ceil(lower + (part.stop - 0.5) * step))
            start = min(max(0, first), size)
            box.append(slice(start, max(start, min(size, last))))
        i, j, k = box
        return i, j, k

    @property
    def whole(self) -> Slices:
        """Slices of all cells."""
        return (slice(0, self.size),) * 3


def region_around(view: VolumeGeometry, centre: Sequence[float], *, spacing_mm: float, size: int) -> Region:
    """Lay a region around a position, moved into the volume as far as it fits.

    Args:
        view: The view's geometry.
        centre: Position in the view.
        spacing_mm: Of the cells.
        size: Cells along an edge.
    """
    lowers, steps = [], []
    for middle, spacing, voxels in zip(centre, view.spacing, view.shape, strict=True):
        step = spacing_mm / spacing
        lower = middle - step * (size - 1) / 2
        first, last = (step - 1) / 2, voxels - 1 - (step - 1) / 2 - step * (size - 1)
        lower = min(max(lower, first), last) if first <= last else (first + last) / 2
        steps.append(step)
        # Whole voxels where a cell is a voxel, so that nothing is blurred; elsewhere rounding noise is cut off.
        lowers.append(float(round(lower)) if abs(step - 1) < 1e-3 else round(lower, 3))
    return Region(
        lower=(lowers[0], lowers[1], lowers[2]),
        step=(steps[0], steps[1], steps[2]),
        size=size,
        spacing_mm=spacing_mm,
    )


def sample_hu(view: View, region: Region) -> Cells:
    """Return the intensities of a region's cells; at most two voxels a cell and axis are read, never the volume.

    Args:
        view: The volume.
        region: Where to look.
    """
    taps = [_taps(region, axis, view.geometry.shape[axis]) for axis in range(3)]
    return _weighted(view.voxels, taps)


def sample_mask(crop: Crop, region: Region, shape: Sequence[int]) -> CellMask:
    """Return the cells that lie in a mask by half or more.

    Args:
        crop: Mask in the view.
        region: Where to look.
        shape: Of the view.
    """
    if crop.is_empty:
        return np.zeros((region.size,) * 3, dtype=bool)
    padded = np.pad(crop.mask, 1)
    taps = []
    for axis in range(3):
        picks, weights = _taps(region, axis, shape[axis])
        taps.append((np.clip(picks - crop.lower[axis] + 1, 0, padded.shape[axis] - 1), weights))
    return np.asarray(_weighted(padded, taps) >= 0.5)


def paste(probabilities: Cells, region: Region, view: VolumeGeometry) -> Crop:
    """Return the voxels of the view where the interpolated probability is above a half.

    Args:
        probabilities: Of the cells, (X, Y, Z).
        region: Where they lie.
        view: The view's geometry.
    """
    cells = bounding_box(probabilities > 0.5)
    if cells is None:
        return Crop.empty()
    i, j, k = (slice(max(0, part.start - 1), min(region.size, part.stop + 1)) for part in cells)
    box = region.voxels((i, j, k), view.shape)
    size = [part.stop - part.start for part in box]
    if min(size) < 1:
        return Crop.empty()
    cut = probabilities[i, j, k]
    place = region.geometry(view).cropped((i.start, j.start, k.start), cut.shape)
    mask = np.empty(size, dtype=bool)
    depth = max(1, _SLAB_VOXELS // (size[0] * size[1]))
    for start in range(0, size[2], depth):
        stop = min(start + depth, size[2])
        slab = view.cropped((box[0].start, box[1].start, box[2].start + start), (size[0], size[1], stop - start))
        mask[:, :, start:stop] = resample(cut, place, slab, order=1, fill=0.0) > 0.5
    return Crop.around(mask, lower=(box[0].start, box[1].start, box[2].start))


def replaced(crop: Crop, answer: Crop, place: Crop) -> Crop:
    """Return a mask with the voxels of a place as they are in another mask.

    Args:
        crop: A mask in the view.
        answer: The mask that counts in the place.
        place: Where it counts.
    """
    if place.is_empty:
        return crop
    inside = np.zeros(place.mask.shape, dtype=bool)
    if not answer.is_empty:
        common = _common(place, answer.box)
        inside[_relative(common, place.lower, inside.shape)] = answer.mask[
            _relative(common, answer.lower, answer.mask.shape)
        ]
    cleared = changed(crop, place, value=False)
    return changed(cleared, Crop(lower=place.lower, mask=inside & place.mask), value=True)


def changed(crop: Crop, other: Crop, *, value: bool) -> Crop:
    """Return a mask with the voxels of another one set or cleared.

    Args:
        crop: A mask in the view.
        other: The voxels to change.
        value: What they become.
    """
    if other.is_empty or (crop.is_empty and not value):
        return crop
    lower, mask = _canvas([c for c in (crop, other) if not c.is_empty])
    if not crop.is_empty:
        mask[_relative(crop.box, lower, mask.shape)] = crop.mask
    mask[_relative(other.box, lower, mask.shape)][other.mask] = value
    return Crop.around(mask, lower=lower)


def _canvas(crops: Iterable[Crop]) -> tuple[tuple[int, int, int], npt.NDArray[np.bool_]]:
    """Corner and cleared array of the box that holds all crops."""
    corners = [(crop.lower, crop.upper) for crop in crops]
    lower = np.min([low for low, _ in corners], axis=0)
    upper = np.max([high for _, high in corners], axis=0)
    i, j, k = (int(index) for index in lower)
    return (i, j, k), np.zeros(upper - lower, dtype=bool)


def _common(crop: Crop, box: Slices) -> Slices:
    i, j, k = (
        slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
        for a, b in zip(crop.box, box, strict=True)
    )
    return i, j, k


def _relative(box: Slices, lower: Sequence[int], shape: Sequence[int]) -> Slices:
    """The same box counted from a corner, cut to an array of `shape` there."""
    i, j, k = (
        slice(min(max(0, part.start - low), size), min(max(0, part.stop - low), size))
        for part, low, size in zip(box, lower, shape, strict=True)
    )
    return i, j, k


def _taps(region: Region, axis: int, voxels: int) -> tuple[npt.NDArray[np.intp], Cells]:
    """Which voxels along an axis the cells read, and their weights (cells, voxels read)."""
    step = region.step[axis]
    centres = region.lower[axis] + step * np.arange(region.size)
    offsets = (0.0,) if step <= 1 else (-step / 4, step / 4)
    positions = np.clip(centres[:, None] + np.asarray(offsets), 0, voxels - 1)
    if step >= _NEAREST_FROM:
        positions = np.round(positions)
    below = np.floor(positions).astype(np.intp)
    share = positions - below
    reads = np.concatenate([below, np.minimum(below + 1, voxels - 1)], axis=1)
    weights = np.concatenate([1 - share, share], axis=1) / len(offsets)
    used = weights > 0
    picks, column = np.unique(reads[used], return_inverse=True)
    table = np.zeros((region.size, len(picks)), dtype=np.float32)
    np.add.at(table, (np.nonzero(used)[0], column.ravel()), weights[used])
    return picks, table


def _weighted(voxels: npt.NDArray[Any], taps: Sequence[tuple[npt.NDArray[np.intp], Cells]]) -> Cells:
    (x, wx), (y, wy), (z, wz) = taps
    # Before weighting: a NaN times a weight of 0 is a NaN.
    block = np.nan_to_num(voxels[np.ix_(x, y, z)].astype(np.float32), nan=_NO_VALUE_HU)
    along_z = block @ wz.T
    along_y = np.matmul(wy, along_z)
    result: Cells = np.tensordot(wx, along_y, axes=(1, 0))
    return result
