"""Where napari shows a volume: the one edge between RAS+ millimetres and napari's axes.

World. napari's world axes 0, 1, 2 are S, P, L in millimetres: (S, -A, -R), the DICOM patient frame (LPS+) in reverse
order, as napari expects it. With napari's own camera (axis 1 runs down the canvas, axis 2 to the right) an axial slice
is then shown the radiological way, anterior up and the patient's left on the right of the screen. The axes
(right, down, away) = (L, P, S) are right-handed like the patient, so neither a slice nor the 3D view is ever mirrored.
Coronal and sagittal slices also want the head up, which needs a turned camera: see `navigation`.

Layer data. Arrays are `[k, j, i]`: the reader permutes and flips the voxels to their nearest "SPL" order, so that all
scales are positive. napari cannot slice oblique volumes. An oblique layer is therefore shown along its own nearest
orthogonal axes: the rotation (and shear) is dropped, spacing and the position of the volume's centre stay. All layers
of a case share this placing. What is shown is never what is measured: `LayerGrid` goes from layer indices to true
RAS+ mm through the true affine, and every export uses that affine.

Foreign layers (not from this plugin's reader) are taken as `[k, j, i]` arrays whose whole transform chain
(scale, rotate, shear, translate, affine) leads to the world above; units that are lengths are converted to mm, pixels
count as 1 mm, which `source` warns about.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Affine
from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import apply_affine
from colipri_core.geometry import reorientation

Index = tuple[int, int, int]

AXIS_LABELS = ("S", "P", "L")
"""Names of napari's world axes 0, 1, 2: the anatomical direction in which each grows."""

_WORLD_ORIENTATION = "SPL"
_RAS_TO_WORLD = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])


def ras_to_world(points: npt.ArrayLike) -> Points:
    """Map RAS+ mm (..., 3) to napari world (S, P, L) mm."""
    return np.asarray(np.asarray(points, dtype=np.float64) @ _RAS_TO_WORLD.T)


def world_to_ras(points: npt.ArrayLike) -> Points:
    """Map napari world (S, P, L) mm (..., 3) to RAS+ mm."""
    return np.asarray(np.asarray(points, dtype=np.float64) @ _RAS_TO_WORLD)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LayerGrid:
    """How a volume's voxels `[i, j, k]` lie in a layer's data array, and where both are in the patient.

    Args:
        geometry: The volume's own grid, with the true affine.
        axes: For each layer axis the voxel axis it shows.
        flips: For each layer axis whether it runs against the voxel axis.
    """

    geometry: VolumeGeometry
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def for_display(cls, geometry: VolumeGeometry) -> LayerGrid:
        """Grid of a volume that the reader lays out: nearest S, P, L order.

        Args:
            geometry: The volume's own grid.
        """
        axes, flips = reorientation(geometry.orientation, _WORLD_ORIENTATION)
        return cls(geometry=geometry, axes=axes, flips=flips)

    @classmethod
    def for_transform(cls, shape: tuple[int, int, int], layer_to_world: Affine) -> LayerGrid:
        """Grid of a foreign layer, from its own transform.

        Args:
            shape: Shape of the layer's data `[k, j, i]`.
            layer_to_world: Layer index -> napari world mm, 4x4.

        Raises:
            ValueError: If the transform cannot be inverted.
        """
        affine = np.eye(4)
        affine[:3, :3] = _RAS_TO_WORLD.T @ layer_to_world[:3, :3][:, ::-1]
        affine[:3, 3] = world_to_ras(layer_to_world[:3, 3])
        geometry = VolumeGeometry(shape=(shape[2], shape[1], shape[0]), affine=affine)
        return cls(geometry=geometry, axes=(2, 1, 0), flips=(False, False, False))

    @property
    def layer_shape(self) -> tuple[int, int, int]:
        """Shape of the layer's data."""
        first, second, third = (self.geometry.shape[axis] for axis in self.axes)
        return first, second, third

    @property
    def scale(self) -> tuple[float, float, float]:
        """Spacing along the layer's axes in mm, for a layer that the reader lays out."""
        first, second, third = (self.geometry.spacing[axis] for axis in self.axes)
        return first, second, third

    @property
    def translate(self) -> tuple[float, float, float]:
        """World position (mm) of layer index 0 for a layer that the reader lays out: the true centre stays in place."""
        half = (np.asarray(self.layer_shape) - 1) / 2 * np.asarray(self.scale)
        first, second, third = (float(value) for value in ras_to_world(self.geometry.center) - half)
        return first, second, third

    def to_layer(self, voxels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Arrange an array of the volume's grid as layer data; a view.

        Args:
            voxels: Array `[i, j, k]`.
        """
        view = np.transpose(voxels, self.axes)
        return view[self._flip_slices()]

    def to_volume(self, data: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Arrange layer data as an array `[i, j, k]` of the volume's grid; a view.

        Args:
            data: Array of `layer_shape`.
        """
        return np.transpose(data[self._flip_slices()], np.argsort(self.axes))

    def layer_box(self, lower: Index, upper: Index) -> tuple[slice, slice, slice]:
        """Slices of a box of the volume's grid in the layer's data.

        Args:
            lower: Voxel index of its first corner.
            upper: Index just beyond its last corner.
        """
        first, second, third = (
            slice(self.geometry.shape[axis] - upper[axis], self.geometry.shape[axis] - lower[axis])
            if flip
            else slice(lower[axis], upper[axis])
            for axis, flip in zip(self.axes, self.flips, strict=True)
        )
        return first, second, third

    def voxel_corner(self, start: Index, shape: Index) -> Index:
        """Voxel index of the first corner of a box of the layer's data.

        Args:
            start: Layer index of its first corner.
            shape: Its shape in layer order.
        """
        corner = [0, 0, 0]
        for layer_axis, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            begin, size = start[layer_axis], shape[layer_axis]
            corner[axis] = self.geometry.shape[axis] - begin - size if flip else begin
        return corner[0], corner[1], corner[2]

    def layer_to_ras(self, indices: npt.ArrayLike) -> Points:
        """Map layer data indices (..., 3), continuous, to true RAS+ mm."""
        return apply_affine(self.layer_affine, indices)

    def ras_to_layer(self, points: npt.ArrayLike) -> Points:
        """Map RAS+ mm (..., 3) to continuous layer data indices."""
        return apply_affine(np.linalg.inv(self.layer_affine).astype(np.float64), points)

    @property
    def layer_affine(self) -> Affine:
        """Layer index -> true RAS+ mm, 4x4."""
        layer_to_voxel = np.zeros((4, 4))
        layer_to_voxel[3, 3] = 1.0
        for layer_axis, (voxel_axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            layer_to_voxel[voxel_axis, layer_axis] = -1.0 if flip else 1.0
            layer_to_voxel[voxel_axis, 3] = self.geometry.shape[voxel_axis] - 1 if flip else 0
        return np.asarray(self.geometry.affine @ layer_to_voxel)

    def _flip_slices(self) -> tuple[slice, slice, slice]:
        first, second, third = (slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return first, second, third
