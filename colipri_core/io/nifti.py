"""NIfTI files: exact affines through nibabel, integers kept as integers.

World coordinates are the sform's if its code is set, else the qform's (nibabel's rule; ITK prefers the qform in some
cases, so a file whose two disagree is warned about). Spatial units other than mm are converted. Where no sform gives
the spacing, pixdim must: nibabel would put 1 mm in the place of zero.
"""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import Affine
from colipri_core.io.checks import check_affine
from colipri_core.io.checks import check_shape
from colipri_core.io.checks import refusal
from colipri_core.io.checks import replace_non_finite
from colipri_core.io.voxels import compact
from colipri_core.io.voxels import rescale
from colipri_core.volume import Volume

_SPACE_UNIT = 0b111  # the bits of xyzt_units that hold the unit of space; the others hold that of time
_UNITS_OF_MM = (0, 2)  # not stated, or mm
_MM_PER_UNIT = {1: ("meter", 1000.0), 3: ("micron", 0.001)}
_FORMS_AGREE_MM = 0.1
_MAX_GZIP_RATIO = 1100  # deflate cannot compress beyond 1032:1, so a header that claims more is false
_NIFTI2_START = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # header size 540 in either byte order
_CHUNK = 2**20
_RGB_INTENTS = (1007, 2003, 2004)
_UNHEARD = logging.Logger("nibabel's repairs of headers", level=logging.CRITICAL)
"""For what nibabel repairs and says on the terminal: what matters of it is refused or warned about here."""


def read_nifti(path: Path, *, name: str) -> Volume:
    """Read a .nii or .nii.gz file.

    Args:
        path: The file.
        name: Name of the volume.

    Raises:
        UnreadableInputError: If the file is no NIfTI, truncated or corrupt.
        UnsupportedVolumeError: If it holds no scalar 3D volume that can be placed in the patient.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    damage = (ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, zlib.error, ValueError, TypeError)
    try:
        with _opened(path) as stream:
            volume = _read(path, stream, name)
            # nibabel stops where the voxels end; only the rest of a gzip stream holds its checksum.
            while stream.read(_CHUNK):
                pass
    except damage as error:
        raise UnreadableInputError(_damaged(path, error)) from error
    return volume


def write_nifti(path: Path, voxels: npt.NDArray[Any], affine: Affine, *, orthogonal: bool) -> None:
    """Write voxels with their affine as sform, and as qform where it can hold it (no shear).

    Args:
        path: File ending in .nii or .nii.gz.
        voxels: Array `[i, j, k]` of an integer or floating type up to 32 bits.
        affine: Voxel -> RAS+ mm.
        orthogonal: Whether the axes are perpendicular.
    """
    import nibabel

    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    if orthogonal:
        image.set_qform(affine, code=1)
    else:
        image.set_qform(None)
    nibabel.save(image, path)


def _opened(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _read(path: Path, stream: io.BufferedIOBase, name: str) -> Volume:
    import nibabel

    kind = nibabel.Nifti2Image if stream.read(4) in _NIFTI2_START else nibabel.Nifti1Image
    stream.seek(0)
    header: Any = kind.header_class(stream.read(kind.header_class.sizeof_hdr), check=False)
    stated = np.array(header["pixdim"][1:4], dtype=np.float64)
    header.check_fix(logger=_UNHEARD)
    # Not mapped: the file may be changed or go away while the volume is in use.
    stored: Any = kind.ImageArrayProxy(stream, header, mmap=False)
    shape = check_shape(path.name, stored.shape)
    _check_scalar(path.name, header)
    _check_size(path, stored)
    _check_spacing(path.name, header, stated)
    affine, notes = _affine(path.name, header, shape)
    voxels, replaced = replace_non_finite(path.name, _voxels(stored, shape))
    metadata = {"format": "nifti", "warnings": notes + replaced}
    return Volume(voxels=voxels, affine=affine, name=name, metadata=metadata)


def _check_scalar(name: str, header: Any) -> None:
    dtype = header.get_data_dtype()
    if dtype.kind not in "iufb" or int(header["intent_code"]) in _RGB_INTENTS:
        found = "vectors or colours" if dtype.kind in "iufbV" else f"values of type {dtype}"
        remedy = "Export the CT's intensities, not a colour rendering or a displacement field."
        raise UnsupportedVolumeError(refusal(name, expected="one number a voxel", found=found, remedy=remedy))


def _check_size(path: Path, stored: Any) -> None:
    """Refuse a header that claims more data than the file can hold, before memory is taken."""
    claimed = int(np.prod(stored.shape, dtype=np.int64)) * stored.dtype.itemsize + int(stored.offset)
    held = path.stat().st_size * (_MAX_GZIP_RATIO if path.name.lower().endswith(".gz") else 1)
    if claimed > held:
        found = f"{path.stat().st_size} bytes, too few for {claimed} bytes of voxels"
        remedy = "The file is truncated: copy or export it again."
        raise UnreadableInputError(refusal(path.name, expected="the whole file", found=found, remedy=remedy))


def _check_spacing(name: str, header: Any, stated: npt.NDArray[np.float64]) -> None:
    """Refuse spacings that the affine would be made of and that are none; with an sform it is made of that alone.

    Args:
        name: File name, for the message.
        header: The header, repaired.
        stated: Spacings as the file states them; a negative one counts as its length.
    """
    if int(header["sform_code"]) > 0 or bool((np.isfinite(stated) & (stated != 0)).all()):
        return
    message = refusal(
        name,
        expected="spacings above zero in pixdim, or an sform",
        found=f"no sform, and spacings of {' x '.join(f'{value:g}' for value in stated)}",
        remedy="Correct the header's spacing and orientation, or convert from the original DICOM again.",
    )
    raise UnsupportedVolumeError(message)


def _affine(name: str, header: Any, shape: tuple[int, int, int]) -> tuple[Affine, tuple[str, ...]]:
    notes = []
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not has_sform and not has_qform:
        notes.append("The NIfTI header states no orientation; left and right, front and back are guessed.")
    elif has_sform and has_qform:
        corners = np.array([[0, 0, 0, 1], [*(np.asarray(shape) - 1), 1]], dtype=np.float64)
        apart = np.abs(corners @ (np.asarray(header.get_sform()) - np.asarray(header.get_qform())).T).max()
        if not apart <= _FORMS_AGREE_MM:
            notes.append(f"The NIfTI header's two orientations differ by up to {apart:.3g} mm; the sform was used.")
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    code = int(header["xyzt_units"]) & _SPACE_UNIT
    if code in _MM_PER_UNIT:
        unit, factor = _MM_PER_UNIT[code]
        affine[:3] *= factor
        notes.append(f"The NIfTI header's unit is {unit}; positions were converted to mm.")
    elif code not in _UNITS_OF_MM:
        notes.append(f"The NIfTI header's unit has the unknown code {code}; mm was assumed, so sizes may be wrong.")
    return check_affine(name, affine, shape), tuple(notes)


def _voxels(stored: Any, shape: tuple[int, int, int]) -> npt.NDArray[Any]:
    values = np.asarray(stored.get_unscaled()).reshape(shape, order="A")
    if stored.slope == 1 and stored.inter == 0:
        return compact(values)
    return rescale(values, float(stored.slope), float(stored.inter))


def _damaged(path: Path, error: Exception) -> str:
    compressed = path.name.lower().endswith(".gz")
    if compressed and isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        found = "damaged or truncated gzip data"
    elif isinstance(error, OSError) and error.errno is not None:
        found = f"an operating system error ({error.strerror})"
    else:
        found = "a header or voxel data that do not fit the format"
    remedy = "Check that it opens elsewhere, and copy or export it again."
    return refusal(path.name, expected="a NIfTI image", found=found, remedy=remedy)
