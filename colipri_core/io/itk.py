"""NRRD and MetaImage files through SimpleITK; the one place where ITK's LPS+ frame meets ours.

ITK turns the spaces an NRRD may be written in (RAS, LAS, LPS) into LPS itself.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import Affine
from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import ras_to_lps
from colipri_core.io.checks import check_affine
from colipri_core.io.checks import check_shape
from colipri_core.io.checks import refusal
from colipri_core.io.checks import replace_non_finite
from colipri_core.io.voxels import compact
from colipri_core.volume import Volume

_HEADER_BYTES = 2**20
_HEADER_END = re.compile(rb"\r?\n\r?\n|^ElementDataFile", re.MULTILINE)
# NRRD writes NaN where a spacing is not known, https://teem.sourceforge.net/nrrd/format.html#spacings
_SPACING = re.compile(
    rb"^(?:spacings:(?!.*nan)|space directions:|Element(?:Spacing|Size)\s*=)", re.MULTILINE | re.IGNORECASE
)


def read_itk(path: Path, *, name: str) -> Volume:
    """Read a .nrrd, .nhdr, .mha or .mhd file.

    Args:
        path: The file.
        name: Name of the volume.

    Raises:
        UnreadableInputError: If the file is damaged or not of the format its name says.
        UnsupportedVolumeError: If it holds no scalar 3D volume that can be placed in the patient.
    """
    image, affine, fields = load(path)
    voxels, replaced = replace_non_finite(path.name, compact(image))
    notes = replaced
    if path.suffix.lower() in (".nrrd", ".nhdr") and "NRRD_space" not in fields:
        notes = ("The NRRD header states no anatomical space; left and right, front and back are guessed.", *notes)
    if not _states_spacing(path):
        notes = ("The header states no spacing; 1 mm was assumed, so sizes and volumes may be wrong.", *notes)
    file_format = "nrrd" if path.suffix.lower() in (".nrrd", ".nhdr") else "metaimage"
    return Volume(voxels=voxels, affine=affine, name=name, metadata={"format": file_format, "warnings": notes})


def load(path: Path) -> tuple[npt.NDArray[Any], Affine, dict[str, str]]:
    """Read voxels `[i, j, k]`, affine (RAS+ mm) and the text fields of the header.

    Raises:
        UnreadableInputError: If ITK cannot read the file.
        UnsupportedVolumeError: If it is no scalar 3D volume with an invertible affine.
    """
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_header(path.name, reader)
        image = reader.Execute()
    except RuntimeError as error:
        raise _refused(path, error) from error
    sizes = check_shape(path.name, image.GetSize())
    voxels = SimpleITK.GetArrayFromImage(image).reshape(sizes[::-1]).transpose(2, 1, 0)
    affine = check_affine(path.name, _affine(image), sizes)
    return voxels, affine, _fields(image)


def save(
    path: Path, voxels: npt.NDArray[Any], geometry: VolumeGeometry, *, fields: dict[str, str] | None = None
) -> None:
    """Write voxels `[i, j, k]`, compressed.

    Args:
        path: File ending in .nrrd or .mha.
        voxels: Array of an integer or floating type.
        geometry: Their grid.
        fields: Text fields of an NRRD header.

    Raises:
        OSError: If not all of it could be written, as on a full disk.
    """
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    lps = ras_to_lps(geometry.affine)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / np.asarray(geometry.spacing)).ravel().tolist())
    for key, value in (fields or {}).items():
        image.SetMetaData(key, value)
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:  # ITK's only one; with the suffixes and types there are here, it is the disk's
        raise OSError(errno.EIO, "the file could not be written whole") from error


def _states_spacing(path: Path) -> bool:
    """Whether the text at the start of the file gives spacings; ITK does not tell, and takes 1 mm."""
    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    return bool(_SPACING.search(re.split(_HEADER_END, start, maxsplit=1)[0]))


def _check_header(name: str, reader: Any) -> None:
    check_shape(name, reader.GetSize())
    if reader.GetNumberOfComponents() != 1:
        found = f"{reader.GetNumberOfComponents()} numbers a voxel (colours or vectors)"
        remedy = "Export the CT's intensities, not a colour rendering or a displacement field."
        raise UnsupportedVolumeError(refusal(name, expected="one number a voxel", found=found, remedy=remedy))


def _fields(image: Any) -> dict[str, str]:
    """The text fields whose key is UTF-8: ITK has no value for others, and none that is needed here is among them."""
    keys = [key for key in image.GetMetaDataKeys() if key.isascii() or _bytes(key).decode(errors="ignore") == key]
    return {key: _text(image.GetMetaData(key)) for key in keys}


def _text(value: str) -> str:
    """A value as UTF-8, or else as Latin-1, which older programs wrote."""
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        return _bytes(value).decode("latin-1")


def _bytes(text: str) -> bytes:
    """What a text was in the file: bytes that are no UTF-8 come as surrogates."""
    return text.encode(errors="surrogateescape")


def _affine(image: Any) -> Affine:
    dimensions = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(dimensions, dimensions)[:3, :3]
    lps = np.eye(4)
    lps[:3, :3] = direction * np.array(image.GetSpacing())[:3]
    lps[:3, 3] = np.array(image.GetOrigin())[:3]
    return ras_to_lps(lps)


def _refused(path: Path, error: RuntimeError) -> UnreadableInputError | UnsupportedVolumeError:
    text = str(error).lower()
    if "spacing" in text or "determinant" in text or "direction" in text:
        message = refusal(
            path.name,
            expected="voxel axes that span space, with spacings above zero",
            found="a zero spacing or a singular orientation",
            remedy="Correct the header's spacing and orientation, or convert from the original DICOM again.",
        )
        return UnsupportedVolumeError(message)
    message = refusal(
        path.name,
        expected=f"a {path.suffix.lstrip('.').upper()} image",
        found="a damaged, truncated or foreign file",
        remedy="Check that it opens elsewhere, and copy or export it again.",
    )
    return UnreadableInputError(message)
