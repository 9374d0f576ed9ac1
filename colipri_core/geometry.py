"""Where voxels lie: affine algebra for volumes of any orientation.

Frames. Arrays are indexed `[i, j, k]`. An affine is a float64 4x4 matrix that takes homogeneous voxel indices to
world millimetres in RAS+ (x grows to the patient's Right, y to Anterior, z to Superior), as NIfTI, MONAI and TorchIO
have it. A voxel's index names its centre. ITK and DICOM use LPS+: `ras_to_lps` is its own inverse and the only place
where the sign is changed. napari and Slicer index arrays `[k, j, i]`; each converts at its own edge.

Any invertible affine is legal: oblique, permuted, flipped, anisotropic. Sheared ones too, in what follows only from
the matrix; `direction` is then not orthogonal, and `is_orthogonal` says so.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]

_AXIS_CODES = (("L", "R"), ("P", "A"), ("I", "S"))
_ORTHOGONALITY_TOLERANCE = 1e-3
_SMALLEST_SPACING_MM = 1e-6
_SMALLEST_DETERMINANT = 1e-6


def ras_to_lps(affine_or_points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Change an affine (4x4) or points (..., 3) between RAS+ and LPS+; the same call goes back.

    Args:
        affine_or_points: A 4x4 affine or an array of points in mm.
    """
    array: npt.NDArray[np.float64] = np.asarray(affine_or_points, dtype=np.float64)
    if array.shape == (4, 4):
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ array
    flipped: npt.NDArray[np.float64] = array * np.array([-1.0, -1.0, 1.0])
    return flipped


def apply_affine(affine: Affine, points: npt.ArrayLike) -> Points:
    """Map points through an affine.

    Args:
        affine: 4x4 matrix.
        points: Array (..., 3).

    Returns:
        Array (..., 3), float64.
    """
    array = np.asarray(points, dtype=np.float64)
    return np.asarray(array @ affine[:3, :3].T + affine[:3, 3])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VolumeGeometry:
    """Shape and place of a voxel grid, without its voxels.

    Args:
        shape: Number of voxels along i, j, k.
        affine: Voxel index -> RAS+ mm, 4x4, invertible.

    Raises:
        ValueError: If the shape is not three positive numbers or the affine is not an invertible 4x4 matrix.
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            msg = f"A volume geometry needs three positive sizes, got shape {tuple(self.shape)}."
            raise ValueError(msg)
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            msg = f"An affine must be a finite 4x4 matrix, got shape {affine.shape}."
            raise ValueError(msg)
        if not np.allclose(affine[3], [0, 0, 0, 1]):
            msg = f"The last row of an affine must be (0, 0, 0, 1), got {affine[3].tolist()}."
            raise ValueError(msg)
        if not _is_invertible(affine):
            msg = f"An affine must be invertible, got the axes {affine[:3, :3].T.round(6).tolist()} (mm)."
            raise ValueError(msg)
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VolumeGeometry):
            return NotImplemented
        return self.shape == other.shape and bool(np.allclose(self.affine, other.affine, atol=1e-6))

    __hash__ = None  # type: ignore[assignment]

    @functools.cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j, k, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def origin(self) -> Points:
        """World position of the centre of voxel (0, 0, 0), RAS+ mm."""
        return np.array(self.affine[:3, 3])

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """Unit vectors of the i, j, k axes as columns, 3x3, RAS+."""
        return np.asarray(self.affine[:3, :3] / np.asarray(self.spacing))

    @property
    def is_orthogonal(self) -> bool:
        """Whether the three axes are perpendicular (no shear)."""
        gram = self.direction.T @ self.direction
        return bool(np.abs(gram - np.eye(3)).max() < _ORTHOGONALITY_TOLERANCE)

    @property
    def is_axis_aligned(self) -> bool:
        """Whether every voxel axis runs along a world axis (in either sense)."""
        return bool(np.abs(np.abs(self.direction).max(axis=0) - 1.0).max() < 1e-6)

    @property
    def is_left_handed(self) -> bool:
        """Whether the axes i, j, k form a left-handed system in RAS+."""
        return bool(np.linalg.det(self.affine[:3, :3]) < 0)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    @property
    def center(self) -> Points:
        """World position of the middle of the grid (midpoint of the outer voxel centres), RAS+ mm."""
        return self.index_to_world((np.asarray(self.shape, dtype=np.float64) - 1.0) / 2.0)

    @functools.cached_property
    def orientation(self) -> str:
        """Nearest anatomical axis codes of i, j, k, such as "RAS" or "LPS"."""
        axes, signs = nearest_axes(self.affine)
        return "".join(_AXIS_CODES[axis][sign > 0] for axis, sign in zip(axes, signs, strict=True))

    def index_to_world(self, indices: npt.ArrayLike) -> Points:
        """Map voxel indices (..., 3) to RAS+ mm."""
        return apply_affine(self.affine, indices)

    def world_to_index(self, points: npt.ArrayLike) -> Points:
        """Map RAS+ mm (..., 3) to continuous voxel indices."""
        return apply_affine(np.linalg.inv(self.affine).astype(np.float64), points)

    def contains(self, point: npt.ArrayLike) -> bool:
        """Whether a RAS+ point lies in a voxel of the grid."""
        index = self.world_to_index(point)
        return bool((index >= -0.5).all() and (index <= np.asarray(self.shape) - 0.5).all())

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> VolumeGeometry:
        """Geometry of a crop or pad that begins at index `start` (may be negative) and has `shape`."""
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world(np.asarray(start, dtype=np.float64))
        return VolumeGeometry(shape=_three(shape), affine=affine)

    def reoriented(self, orientation: str) -> VolumeGeometry:
        """Geometry after `reorient_array` to the given axis codes."""
        axes, flips = reorientation(self.orientation, orientation)
        affine = self.affine.copy()
        columns = self.affine[:3, list(axes)].copy()
        origin = self.affine[:3, 3].copy()
        for new_axis, flip in enumerate(flips):
            if flip:
                origin = origin + columns[:, new_axis] * (self.shape[axes[new_axis]] - 1)
                columns[:, new_axis] = -columns[:, new_axis]
        affine[:3, :3] = columns
        affine[:3, 3] = origin
        return VolumeGeometry(shape=_three([self.shape[axis] for axis in axes]), affine=affine)

    def resampled(self, shape: Sequence[int]) -> VolumeGeometry:
        """Geometry of a grid of another shape over the same field of view (voxel edges coincide)."""
        factors = np.asarray(self.shape, dtype=np.float64) / np.asarray(shape, dtype=np.float64)
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * factors
        affine[:3, 3] = self.index_to_world((factors - 1) / 2.0)
        return VolumeGeometry(shape=_three(shape), affine=affine)

    def to_json(self) -> dict[str, object]:
        """Return shape and affine as plain lists."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}


def nearest_axes(affine: Affine) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Match each voxel axis with the world axis it lies nearest to, each used once.

    The rule is nibabel's (`io_orientation`), and so TorchIO's and the official package's: of the nearest rotation to
    the axes, the axis nearest to any world axis chooses first. It is defined for every invertible affine, also at 45
    degrees, where the world axis named first wins.

    Args:
        affine: 4x4 voxel -> RAS+ matrix.

    Returns:
        World axis (0..2) and sign (+1, -1) of each voxel axis.
    """
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    left, _, right = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0))
    cosines = left @ right
    axes, signs = [0, 0, 0], [1, 1, 1]
    for voxel_axis in np.argsort(np.min(-(cosines**2), axis=0), kind="stable"):
        world_axis = int(np.abs(cosines[:, voxel_axis]).argmax())
        axes[voxel_axis] = world_axis
        signs[voxel_axis] = 1 if cosines[world_axis, voxel_axis] >= 0 else -1
        cosines[world_axis] = 0.0
    return (axes[0], axes[1], axes[2]), (signs[0], signs[1], signs[2])


def reorientation(source: str, target: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Permutation and flips that bring axes of one orientation to another.

    Args:
        source: Axis codes of the array, such as "LPS".
        target: Axis codes wanted, such as "RAS".

    Returns:
        For each target axis the source axis it comes from, and whether it is reversed.

    Raises:
        ValueError: If a code is not three letters naming three different axes.
    """
    source_axes, source_signs = _parse_orientation(source)
    target_axes, target_signs = _parse_orientation(target)
    order = [source_axes.index(axis) for axis in target_axes]
    flips = [source_signs[index] != sign for index, sign in zip(order, target_signs, strict=True)]
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])


def reorient_array(array: npt.NDArray[np.generic], source: str, target: str) -> npt.NDArray[np.generic]:
    """Permute and flip an array's three axes; a view, no copy.

    Args:
        array: Voxels `[i, j, k]`.
        source: Axis codes of the array.
        target: Axis codes wanted.
    """
    axes, flips = reorientation(source, target)
    view = np.transpose(array, axes)
    return view[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]


def _is_invertible(affine: Affine) -> bool:
    """Whether the axes span space; judged by their directions, so that the size of the voxels does not matter."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < _SMALLEST_SPACING_MM:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > _SMALLEST_DETERMINANT)


def _parse_orientation(codes: str) -> tuple[list[int], list[int]]:
    letters = {letter: (axis, sign) for axis, pair in enumerate(_AXIS_CODES) for sign, letter in enumerate(pair)}
    parsed = [letters[letter] for letter in codes if letter in letters]
    if len(codes) != 3 or len({axis for axis, _ in parsed}) != 3:
        msg = f'An orientation is three letters, one each of R/L, A/P, S/I, such as "RAS"; got "{codes}".'
        raise ValueError(msg)
    return [axis for axis, _ in parsed], [sign for _, sign in parsed]


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    i, j, k = (int(value) for value in values)
    return i, j, k
