"""Where the body and its lungs lie in a prepared volume, from Hounsfield units alone, on a coarse grid.

Used to judge whether a volume is a chest CT at all and to keep evidence peaks off the air around the patient. It needs
no model, so it also works where the model does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import SimpleITK
from einops import reduce

from colipri_core.geometry import VolumeGeometry
from colipri_core.preprocess import Prepared
from colipri_core.preprocess import model_grid
from colipri_core.preprocess_spec import PreprocessSpec

Mask = npt.NDArray[np.bool_]

COARSE_MM = 4.5
"""Largest block over which the volume is averaged, in mm (our choice: finer than a lobe, coarser than noise)."""

TISSUE_HU = -300.0
LUNG_HU = (-960.0, -500.0)
"""Aerated lung at about 4 mm, from emphysema to dependent lung in expiration (our choice)."""

SHELL_MM = 8.0
"""Half the thickness, across the head-foot axis, below which air-like voxels are the blur of a surface (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """Coarse masks of a prepared volume; each voxel is the mean of a block of model voxels.

    Args:
        hu: Mean HU of a block, as far as the intensity window lets through; its lower end outside the volume.
        tissue: Denser than -300 HU.
        lung: Aerated like lung, without the blur at the skin, the table and gas in the bowel.
        inside: The largest connected region of both, with its cavities.
        geometry: The coarse grid.
    """

    hu: npt.NDArray[np.float32]
    tissue: Mask
    lung: Mask
    inside: Mask
    geometry: VolumeGeometry


def find_body(prepared: Prepared, spec: PreprocessSpec, *, patch_size: int) -> Body:
    """Find body and lungs in a prepared volume.

    Args:
        prepared: The volume on the model grid.
        spec: The model's preprocessing, which gives the window of HU.
        patch_size: Edge of the model's patch in voxels; the coarse grid divides it.
    """
    block = _block_size(spec, patch_size)
    hu = _block_means(prepared, spec, block)
    axis = next(axis for axis, code in enumerate(spec.orientation) if code in "SI")
    tissue = hu > TISSUE_HU
    aerated = (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
    radius = max(1, round(SHELL_MM / (block * max(spec.spacing_mm))))
    inside = _by_plane(_largest(tissue | _by_plane(aerated, _opened(1), axis)), SimpleITK.BinaryFillhole, axis)
    return Body(
        hu=hu,
        tissue=tissue,
        lung=_by_plane(aerated, _opened(radius), axis) & inside,
        inside=inside,
        geometry=prepared.geometry.resampled(hu.shape),
    )


def token_fraction(mask: Mask, token_shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the share of each token that a coarse mask covers.

    Args:
        mask: A mask of `Body`.
        token_shape: Shape of the token grid, which divides the mask's.
    """
    x, y, z = (size // tokens for size, tokens in zip(mask.shape, token_shape, strict=True))
    return np.asarray(reduce(mask.astype(np.float64), "(x a) (y b) (z c) -> x y z", "mean", a=x, b=y, c=z))


def _block_size(spec: PreprocessSpec, patch_size: int) -> int:
    fitting = [size for size in range(1, patch_size + 1) if patch_size % size == 0]
    return max([size for size in fitting if size * max(spec.spacing_mm) <= COARSE_MM], default=1)


def _block_means(prepared: Prepared, spec: PreprocessSpec, block: int) -> npt.NDArray[np.float32]:
    """HU of each block; what the volume does not cover is air, whatever it was padded with."""
    low, high = spec.intensity_window
    covered = model_grid(prepared.source, spec).inner
    values = np.full(prepared.array.shape, -1.0, dtype=np.float32)
    values[covered] = prepared.array[covered]
    mean = reduce(values, "(x a) (y b) (z c) -> x y z", "mean", a=block, b=block, c=block)
    return np.asarray((mean + 1.0) / 2.0 * (high - low) + low, dtype=np.float32)


def _by_plane(mask: Mask, operation: Callable[[SimpleITK.Image], SimpleITK.Image], axis: int) -> Mask:
    """Apply an operation in every plane across the head-foot axis: thin slabs keep what they show."""
    planes = []
    for plane in np.moveaxis(mask, axis, 0):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(plane, dtype=np.uint8))
        planes.append(SimpleITK.GetArrayFromImage(operation(image)) > 0)
    return np.moveaxis(np.stack(planes), 0, axis)


def _opened(radius: int) -> Callable[[SimpleITK.Image], SimpleITK.Image]:
    return lambda image: SimpleITK.BinaryMorphologicalOpening(image, (radius, radius))


def _largest(mask: Mask) -> Mask:
    if not mask.any():
        return mask
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    components = SimpleITK.RelabelComponent(SimpleITK.ConnectedComponent(image))
    largest: Mask = SimpleITK.GetArrayFromImage(components) == 1
    return largest
