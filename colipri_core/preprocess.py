"""From a volume to the model grid, and from the model's grids back to the volume's own.

The steps and grid rules are those of the official `colipri` 0.1.3 transform (TorchIO): reorient, resample linearly
without anti-aliasing, clamp, rescale to [-1, 1], centre crop or pad. The resampled grid has floor(n * spacing /
target) voxels (a whole number but for rounding counts as whole), centred on the midpoint of the volume's voxel
centres, along the volume's own axes: an oblique volume stays oblique. Crop and pad take the larger half at the start.
Reorientation, resampling and crop are one step here: only voxels that the model sees are computed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import VolumeGeometry
from colipri_core.interpolate import interpolate
from colipri_core.interpolate import memory_order
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.resample import parallel_axes
from colipri_core.resample import resample
from colipri_core.volume import Volume

_CUT_TOLERANCE_MM = 10.0

_ROUNDING = 1e-3
"""Share of a voxel that may be missing from a whole number of them: an affine that went through a file or a rotation
is not what it was to the last bit, and must not move the grid by half a voxel (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A volume on the model grid.

    Args:
        array: float32 `[x, y, z]` in [-1, 1], C order, of the spec's size.
        geometry: The model grid; its affine maps model voxels to RAS+ mm like any other.
        source: The volume's own grid.
    """

    array: npt.NDArray[np.float32]
    geometry: VolumeGeometry
    source: VolumeGeometry


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelGrid:
    """The grids a volume passes through on its way to the model.

    Args:
        resampled: The whole volume at the model's orientation and spacing.
        final: The model grid: a centre crop or pad of `resampled`.
        start: Index of the model grid's first voxel in `resampled`; negative where it is padded.
    """

    resampled: VolumeGeometry
    final: VolumeGeometry
    start: tuple[int, int, int]

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The part of the model grid that the volume covers."""
        spans = zip(self.start, self.resampled.shape, self.final.shape, strict=True)
        x, y, z = (slice(max(-start, 0), min(size - start, final)) for start, size, final in spans)
        return x, y, z


def model_grid(geometry: VolumeGeometry, spec: PreprocessSpec) -> ModelGrid:
    """Lay the model grid over a volume.

    Args:
        geometry: The volume's grid.
        spec: Orientation, spacing and size wanted.
    """
    oriented = geometry.reoriented(spec.orientation)
    spacing = np.asarray(spec.spacing_mm)
    old = np.asarray(oriented.shape)
    shape = np.maximum(np.floor(old * np.asarray(oriented.spacing) / spacing + _ROUNDING), 1).astype(int)
    shape[old == 1] = 1
    affine = np.eye(4)
    affine[:3, :3] = oriented.direction * spacing
    affine[:3, 3] = oriented.center - affine[:3, :3] @ ((shape - 1) / 2)
    resampled = VolumeGeometry(shape=_three(shape), affine=affine)
    excess = shape - np.asarray(spec.size)
    start = _three(np.sign(excess) * ((np.abs(excess) + 1) // 2))
    return ModelGrid(resampled=resampled, final=resampled.cropped(start, spec.size), start=start)


def prepare(volume: Volume, spec: PreprocessSpec) -> Prepared:
    """Bring a volume onto the model grid.

    Args:
        volume: A CT in HU, of any orientation and spacing, integer or floating.
        spec: How the model wants it.

    Returns:
        The array, equal to the official transform's on floating input (integer input: see
        `PreprocessSpec.integer_truncation`), with its geometry.
    """
    grid = model_grid(volume.geometry, spec)
    inner = grid.inner
    covered = grid.final.cropped([part.start for part in inner], [part.stop - part.start for part in inner])
    values = _sample(volume, covered, spec)
    if covered.shape == grid.final.shape:
        array = np.ascontiguousarray(values, dtype=np.float32)
    else:
        array = np.full(grid.final.shape, _padding(volume, grid, values, spec), dtype=np.float32)
        array[inner] = values
    return Prepared(array=array, geometry=grid.final, source=volume.geometry)


def map_to_source(
    values: npt.NDArray[Any],
    grid: VolumeGeometry,
    source: VolumeGeometry,
    *,
    order: int = 1,
    fill: float | None = None,
) -> npt.NDArray[Any]:
    """Bring a map or labelmap from a model's grid to the volume's own grid, by world position.

    Args:
        values: Array on `grid`, such as an evidence map on the token grid or a labelmap on the model grid.
        grid: Geometry of the values.
        source: Geometry of the volume.
        order: 1 for maps (linear, float32), 0 for labelmaps (nearest, dtype kept).
        fill: Value where the model did not look; None is NaN for order 1 and 0 for order 0.

    Returns:
        Array of the source's shape, in Fortran order.

    Raises:
        ValueError: If values and grid disagree, or the order or fill cannot be used.
    """
    return resample(values, grid, source, order=order, fill=fill)


def token_geometry(geometry: VolumeGeometry, patch_size: int) -> VolumeGeometry:
    """Geometry of the patch grid over a model grid: one voxel a patch, at the patch's centre.

    Args:
        geometry: The model grid.
        patch_size: Edge of a patch in voxels.

    Raises:
        ValueError: If the patches do not tile the grid.
    """
    if patch_size < 1 or any(size % patch_size for size in geometry.shape):
        msg = f"Patches of {patch_size} voxels do not tile a grid of shape {geometry.shape}."
        raise ValueError(msg)
    return geometry.resampled([size // patch_size for size in geometry.shape])


def field_of_view_warnings(geometry: VolumeGeometry, spec: PreprocessSpec) -> tuple[str, ...]:
    """Say which part of a volume lies outside the model's field of view.

    Args:
        geometry: The volume's grid.
        spec: The model's preprocessing.

    Returns:
        One sentence for each axis that loses more than 10 mm (our choice) in all.
    """
    grid = model_grid(geometry, spec)
    names = {"R": "left-right", "L": "left-right", "A": "front-back", "P": "front-back"}
    found = []
    for axis, (size, kept, spacing) in enumerate(
        zip(grid.resampled.shape, grid.final.shape, spec.spacing_mm, strict=True)
    ):
        if (size - kept) * spacing > _CUT_TOLERANCE_MM:
            direction = names.get(spec.orientation[axis], "head-foot")
            found.append(
                f"The model sees {kept * spacing:.0f} mm of {size * spacing:.0f} mm in {direction} direction; "
                "what lies beyond, on both sides, is not analysed."
            )
    return tuple(found)


def _sample(volume: Volume, target: VolumeGeometry, spec: PreprocessSpec) -> npt.NDArray[Any]:
    """Resample to a part of the model's grid, clamp and rescale; in the memory order of the volume."""
    axes = parallel_axes(target, volume.geometry)
    assert axes is not None, "a model grid keeps the volume's axes"
    truncate = spec.integer_truncation and volume.voxels.dtype.kind in "iu"
    low, high = spec.intensity_window

    def finish(plane: npt.NDArray[Any]) -> None:
        if truncate:
            np.trunc(plane, out=plane)
        np.clip(plane, low, high, out=plane)
        plane -= low
        plane *= 2 / (high - low)
        plane -= 1

    order = [next(t for t, m in enumerate(axes) if m.source_axis == axis) for axis in memory_order(volume.voxels)]
    dtype = np.float64 if truncate else np.float32
    planes = np.empty([target.shape[axis] for axis in order], dtype=dtype)
    out = planes.transpose(np.argsort(order))
    interpolate(volume.voxels, axes, out, finish=finish)
    return out


def _padding(volume: Volume, grid: ModelGrid, values: npt.NDArray[Any], spec: PreprocessSpec) -> float:
    """The value around the volume; "minimum" is that of the whole resampled volume, cropped parts included."""
    if spec.padding != "minimum":
        return spec.padding
    seen = float(values.min())
    if seen <= -1.0 or values.size == np.prod(grid.resampled.shape):
        return seen
    return float(_sample(volume, grid.resampled, spec).min())


def _three(values: npt.ArrayLike) -> tuple[int, int, int]:
    i, j, k = (int(value) for value in np.asarray(values))
    return i, j, k
