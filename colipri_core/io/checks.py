"""What every reader checks before it hands out a volume, and the doubts it puts into words.

Refused: what cannot be placed in the patient or is no 3D image. Warned about: what can be processed, but whose numbers
or coverage make a result doubtful. The thresholds are our choice.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.errors import VolumeWarning
from colipri_core.geometry import Affine
from colipri_core.geometry import VolumeGeometry
from colipri_core.volume import Volume

MAX_VOXELS = 2**31
_MAX_NON_FINITE = 0.5
_AIR_HU = -400.0
_DENSEST_PADDING_HU = -1100.0
_SMALLEST_CHEST_MM = 100.0
_LARGEST_SPACING_MM = 5.0
_SAMPLED_VOXELS = 200_000


def refusal(name: str, *, expected: str, found: str, remedy: str) -> str:
    """The text of a refusal: what was expected, what was found, what to do."""
    return f'Cannot read "{name}": expected {expected}, found {found}. {remedy}'


def check_shape(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the three sizes of a volume; trailing axes of size 1 are dropped.

    Args:
        name: File name, for the message.
        shape: Sizes as the file states them.

    Raises:
        UnsupportedVolumeError: If it is 2D, one slice, 4D, empty or larger than `MAX_VOXELS`.
    """
    sizes = [int(size) for size in shape]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    found = " x ".join(str(size) for size in sizes) + " voxels"
    expected = "one 3D volume"
    if len(sizes) > 3:
        remedy = "Extract one volume of the series of volumes (one time point or channel) and read that."
        raise UnsupportedVolumeError(refusal(name, expected=expected, found=found, remedy=remedy))
    if len(sizes) < 3 or min(sizes) < 2:
        remedy = "A single slice is not enough: read the whole scan."
        raise UnsupportedVolumeError(refusal(name, expected=expected, found=found, remedy=remedy))
    if np.prod(np.asarray(sizes, dtype=np.float64)) > MAX_VOXELS:
        expected = f"a scan of at most {MAX_VOXELS / 1e9:.1f} billion voxels"
        remedy = "The header is damaged, or the image must be cropped or resampled first."
        raise UnsupportedVolumeError(refusal(name, expected=expected, found=found, remedy=remedy))
    i, j, k = sizes
    return i, j, k


def check_affine(name: str, affine: npt.ArrayLike, shape: tuple[int, int, int]) -> Affine:
    """Return the affine if voxels can be placed by it.

    Raises:
        UnsupportedVolumeError: If it is not finite or not invertible (zero spacing, axes in one plane).
    """
    try:
        return VolumeGeometry(shape=shape, affine=np.asarray(affine, dtype=np.float64)).affine
    except ValueError:
        lengths = np.linalg.norm(np.nan_to_num(np.asarray(affine, dtype=np.float64)[:3, :3]), axis=0)
        message = refusal(
            name,
            expected="voxel axes that span space, with spacings above zero",
            found=f"a singular or undefined voxel-to-world matrix (spacings {_list(lengths)} mm)",
            remedy="Correct the header's spacing and orientation, or convert from the original DICOM again.",
        )
        raise UnsupportedVolumeError(message) from None


def replace_non_finite(name: str, voxels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Replace NaN and infinite voxels by the lowest finite value (outside the scanned region that is air).

    Args:
        name: File name, for the message.
        voxels: Array; changed in place if it holds such voxels.

    Returns:
        The array, and a warning if something was replaced.

    Raises:
        UnsupportedVolumeError: If more than half of the voxels are not finite.
    """
    if voxels.dtype.kind != "f":
        return voxels, ()
    finite = np.isfinite(voxels)
    count = voxels.size - int(np.count_nonzero(finite))
    if count == 0:
        return voxels, ()
    if count > _MAX_NON_FINITE * voxels.size:
        message = refusal(
            name,
            expected="numbers in at least half of the voxels",
            found=f"NaN or infinity in {count} of {voxels.size} voxels",
            remedy="Check how the file was made, and export it again.",
        )
        raise UnsupportedVolumeError(message)
    lowest = voxels[finite].min()
    voxels = voxels if voxels.flags.writeable else voxels.copy()
    voxels[~finite] = lowest
    return voxels, (f"{count} voxels were NaN or infinite; they were set to the lowest value, {lowest:g}.",)


def check_volume(volume: Volume) -> tuple[str, ...]:
    """Say what makes results on this volume doubtful.

    Args:
        volume: A volume, read or made.

    Returns:
        Sentences: the reader's own warnings, then doubts on intensities, coverage and spacing; empty if there are none.
    """
    noted = tuple(volume.metadata.get("warnings", ()))
    return noted + intensity_doubts(volume.voxels) + _geometry_doubts(volume.geometry)


def intensity_doubts(voxels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Say why the intensities cannot be Hounsfield units of a chest; empty if they can.

    Every n-th voxel is looked at, 200,000 or so in all.
    """
    step = max(1, round((voxels.size / _SAMPLED_VOXELS) ** (1 / 3)))
    sample = voxels[::step, ::step, ::step].astype(np.float32)
    low, high = float(sample.min()), float(sample.max())
    found = f"intensities run from {low:g} to {high:g}"
    mostly_below_air = float((sample < _DENSEST_PADDING_HU).mean()) > 0.5
    doubts = (
        (low == high, f"All sampled voxels have the value {low:g}: the image is empty."),
        (low >= -1.5 and high <= 1.5, f"Not Hounsfield units: {found}, as in an image scaled for a network."),
        (low >= 0 and high <= 255, f"Not Hounsfield units: {found}, as in an 8-bit image of one window."),
        (low >= 0 and high > 1000, f"Probably not Hounsfield units: {found}; was the offset (-1024) never applied?"),
        (low > _AIR_HU, f"Probably not Hounsfield units of a chest: {found}, so there is no air."),
        (high < _AIR_HU, f"Probably not Hounsfield units of a chest: {found}, so there is no tissue."),
        (mostly_below_air, f"Probably not Hounsfield units: {found}, mostly below air; was the offset applied twice?"),
    )
    return tuple(text for holds, text in doubts if holds)[:1]


def warn(messages: Sequence[str], *, stacklevel: int = 3) -> None:
    """Issue each sentence as a `VolumeWarning` at the caller's caller."""
    for message in messages:
        warnings.warn(message, VolumeWarning, stacklevel=stacklevel)


def _geometry_doubts(geometry: VolumeGeometry) -> tuple[str, ...]:
    doubts = []
    extent = np.asarray(geometry.shape) * np.asarray(geometry.spacing)
    if extent.min() < _SMALLEST_CHEST_MM:
        doubts.append(f"The volume covers only {_list(extent)} mm: less than a chest.")
    if max(geometry.spacing) > _LARGEST_SPACING_MM + 0.01:
        doubts.append(f"The spacing is {_list(geometry.spacing)} mm: small findings cannot be seen.")
    if not geometry.is_orthogonal:
        doubts.append("The voxel axes are not perpendicular (shear): shapes are distorted on the model's grid.")
    return tuple(doubts)


def _list(values: Sequence[float] | npt.NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
