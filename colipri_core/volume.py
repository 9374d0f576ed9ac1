"""A CT volume: voxels, their place in the patient, and what their numbers mean."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Affine
from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import reorient_array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """A 3D image with its geometry.

    Args:
        voxels: Array `[i, j, k]`, integer or floating.
        affine: Voxel index -> RAS+ mm, float64 4x4.
        unit: Meaning of the intensities: "HU", or "unknown" when the file cannot be Hounsfield units.
        name: Name of the case for people: a file or series name, never a full path.
        metadata: What the file said besides: DICOM identifiers needed to write SEG or SR, for instance.

    Raises:
        ValueError: If the voxels are not a 3D numeric array or the affine does not fit.
    """

    voxels: npt.NDArray[Any]
    affine: Affine
    unit: str = "HU"
    name: str = "volume"
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3:
            msg = f"A volume needs 3 spatial axes, got an array of shape {self.voxels.shape}."
            raise ValueError(msg)
        if self.voxels.dtype.kind not in "iuf":
            msg = f"Voxels must be integers or floats, got {self.voxels.dtype}."
            raise ValueError(msg)
        object.__setattr__(self, "affine", self.geometry.affine)

    @functools.cached_property
    def geometry(self) -> VolumeGeometry:
        """Shape and affine."""
        return VolumeGeometry(shape=self.shape, affine=self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        i, j, k = self.voxels.shape
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing along i, j, k in mm."""
        return self.geometry.spacing

    @property
    def orientation(self) -> str:
        """Nearest anatomical axis codes, such as "LPS"."""
        return self.geometry.orientation

    def reoriented(self, orientation: str) -> Volume:
        """Return the volume with its axes permuted and flipped to `orientation`; world positions do not move.

        Args:
            orientation: Axis codes wanted, such as "RAS".
        """
        voxels = reorient_array(self.voxels, self.orientation, orientation)
        return dataclasses.replace(self, voxels=voxels, affine=self.geometry.reoriented(orientation).affine)

    def replace_voxels(self, voxels: npt.NDArray[Any]) -> Volume:
        """Return a volume of other voxels on the same grid."""
        return dataclasses.replace(self, voxels=voxels)

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of voxels and geometry: the same image gives the same key, whatever its file name or order in memory."""
        digest = hashlib.sha256()
        digest.update(f"{self.voxels.dtype.str} {self.shape}".encode())
        digest.update(np.round(self.affine, 6).tobytes())
        for plane in np.moveaxis(self.voxels, 2, 0):
            digest.update(np.ascontiguousarray(plane).data)
        return digest.hexdigest()
