"""DICOM series to volumes: folders, single files and multi-frame files.

Headers are read first and decide everything; pixels are then decoded in threads, straight into the volume. Values are
rescaled to HU by each slice's own slope and intercept and stay integers where those are whole.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io.checks import refusal
from colipri_core.io.checks import replace_non_finite
from colipri_core.io.dicom_geometry import Stack
from colipri_core.io.dicom_geometry import stack_frames
from colipri_core.io.dicom_headers import Frame
from colipri_core.io.dicom_headers import Instance
from colipri_core.io.dicom_headers import files_in
from colipri_core.io.dicom_headers import quiet_pydicom
from colipri_core.io.dicom_headers import read_instances
from colipri_core.io.dicom_series import Series
from colipri_core.io.dicom_series import choose_series
from colipri_core.io.dicom_series import group_series
from colipri_core.io.voxels import compact
from colipri_core.io.voxels import rescale
from colipri_core.volume import Volume

_THREADS = 8
_DECODING_ERRORS = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read_dicom_folder(folder: Path, *, name: str, series: str | int | None = None) -> Volume:
    """Read a series from a folder and the folders in it.

    Args:
        folder: Where the files lie; other files are passed over.
        name: Name of the volume.
        series: Which series, if there are several: UID, series number, or place in the list (from 1).

    Raises:
        UnreadableInputError: If there is no DICOM image, or one cannot be decoded.
        UnsupportedVolumeError: If the series is no regular CT volume.
        SeveralSeriesError: If there are several series and none was named.
    """
    with quiet_pydicom():
        return _read_folder(folder, name, series)


def _read_folder(folder: Path, name: str, series: str | int | None) -> Volume:
    files = list(files_in(folder))
    instances, damaged = read_instances(files)
    if not instances:
        found = (
            f"{len(files)} files, none of them a DICOM image (segmentations are none)" if files else "an empty folder"
        )
        remedy = "Give the folder of a DICOM series, or the path of a NIfTI, NRRD or MetaImage file itself."
        raise UnreadableInputError(refusal(name, expected="DICOM images", found=found, remedy=remedy))
    notes = (f"{len(damaged)} damaged DICOM files were left out, such as {damaged[0]}.",) if damaged else ()
    return _read(name, instances, series, notes)


def read_dicom_file(file: Path, *, name: str) -> Volume:
    """Read the volume a DICOM file belongs to: itself if it is multi-frame, else its series in the same folder.

    Args:
        file: A DICOM file.
        name: Name of the volume.

    Raises:
        UnreadableInputError: If the file is damaged or no image.
        UnsupportedVolumeError: If the series is no regular CT volume.
    """
    with quiet_pydicom():
        return _read_file(file, name)


def _read_file(file: Path, name: str) -> Volume:
    instances, _ = read_instances([file])
    if not instances:
        remedy = "Give a CT image file or the folder of the series."
        found = "a damaged file or another object, such as a segmentation"
        message = refusal(file.name, expected="a DICOM image", found=found, remedy=remedy)
        raise UnreadableInputError(message)
    own = instances[0]
    if int(own.header.get("NumberOfFrames") or 1) > 1:
        return _read(name, [own], None, ())
    siblings, _ = read_instances(path for path in sorted(file.parent.iterdir()) if path.is_file())
    uid = own.text("SeriesInstanceUID")
    return _read(name, [other for other in siblings if other.text("SeriesInstanceUID") == uid], None, ())


def _read(name: str, instances: Sequence[Instance], wanted: str | int | None, notes: tuple[str, ...]) -> Volume:
    series, left_out = choose_series(name, group_series(instances), wanted)
    modality = series.instances[0].text("Modality")
    stack = stack_frames(name, series.frames)
    if modality == "CT":
        _check_rescale(name, stack)
    voxels, replaced = replace_non_finite(name, _decode(name, stack))
    units = {frame.rescale_type for frame in stack.frames} - {"", "HU"}
    is_hounsfield = modality == "CT" and not units
    if modality != "CT":
        notes = (*notes, f"The modality is {modality or 'not stated'}, not CT; intensities are no Hounsfield units.")
    elif units:
        notes = (*notes, f"Rescaled values are in {', '.join(sorted(units))}, not Hounsfield units.")
    return Volume(
        voxels=voxels,
        affine=stack.affine,
        unit="HU" if is_hounsfield else "unknown",
        name=name,
        metadata={
            "format": "dicom",
            "warnings": (*notes, *left_out, *stack.warnings, *replaced),
            "dicom": _identifiers(series, stack),
        },
    )


def _identifiers(series: Series, stack: Stack) -> dict[str, Any]:
    """What exports refer to; nothing that names the patient. `files` never leaves this process."""
    first = series.instances[0]
    return {
        "study_uid": first.text("StudyInstanceUID"),
        "series_uid": series.uid,
        "series_number": series.number,
        "series_description": first.text("SeriesDescription"),
        "modality": first.text("Modality"),
        "frame_of_reference_uid": first.text("FrameOfReferenceUID"),
        "sop_class_uid": first.text("SOPClassUID"),
        "sop_instance_uids": tuple(frame.instance.text("SOPInstanceUID") for frame in stack.frames),
        "frame_numbers": tuple(None if frame.index is None else frame.index + 1 for frame in stack.frames),
        "files": tuple(str(frame.instance.file) for frame in stack.frames),
    }


def _check_rescale(name: str, stack: Stack) -> None:
    lacking = [frame for frame in stack.frames if frame.slope is None or frame.intercept is None or frame.slope == 0]
    if not lacking:
        return
    message = refusal(
        name,
        expected="Rescale Slope and Rescale Intercept in every CT slice",
        found=f"{len(lacking)} of {len(stack.frames)} slices without them, so Hounsfield units cannot be computed",
        remedy="Export the series again without stripping these tags (0028,1052 and 0028,1053).",
    )
    raise UnsupportedVolumeError(message)


def _decode(name: str, stack: Stack) -> npt.NDArray[Any]:
    """Decode all planes into one array `[i, j, k]` with k slowest, in HU."""
    columns, rows, planes = stack.shape
    out = np.empty((planes, rows, columns), dtype=_dtype(stack))
    by_file: dict[Path, list[int]] = {}
    for k, frame in enumerate(stack.frames):
        by_file.setdefault(frame.instance.file, []).append(k)

    def fill(file: Path) -> None:
        places = by_file[file]
        stored = _pixels(file, [stack.frames[k] for k in places])
        for k, plane in zip(places, stored, strict=True):
            frame = stack.frames[k]
            out[k] = _fitting(file, rescale(plane, frame.slope or 1.0, frame.intercept or 0.0), out.dtype)

    with ThreadPoolExecutor(min(_THREADS, len(by_file))) as pool:
        list(pool.map(fill, by_file))
    return compact(out).transpose(2, 1, 0)


def _pixels(file: Path, frames: Sequence[Frame]) -> list[npt.NDArray[Any]]:
    import pydicom

    try:
        stored = pydicom.dcmread(file, force=True).pixel_array
    except _DECODING_ERRORS as error:
        message = refusal(
            file.name,
            expected="DICOM pixel data",
            found="missing, truncated or undecodable pixel data",
            remedy="Copy or export the file again; a rare compression may need conversion first (dcmdjpeg, gdcmconv).",
        )
        raise UnreadableInputError(message) from error
    planes = [stored if frame.index is None else stored.reshape(-1, *frame.size)[frame.index] for frame in frames]
    if any(plane.shape != frame.size for plane, frame in zip(planes, frames, strict=True)):
        found = f"pixel data of shape {stored.shape}"
        remedy = "Copy or export the file again."
        message = refusal(file.name, expected="the rows and columns of its header", found=found, remedy=remedy)
        raise UnreadableInputError(message)
    return planes


def _dtype(stack: Stack) -> np.dtype[Any]:
    """Type that holds every value the headers allow: int16, int32, or float32 where rescaling is not whole."""
    low, high = 0.0, 0.0
    for frame in stack.frames:
        slope, intercept = frame.slope or 1.0, frame.intercept or 0.0
        if slope != int(slope) or intercept != int(intercept):
            return np.dtype(np.float32)
        header = frame.instance.header
        bits, signed = int(header.get("BitsStored") or 16), int(header.get("PixelRepresentation") or 0)
        bounds = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        rescaled = [slope * bound + intercept for bound in bounds]
        low, high = min(low, *rescaled), max(high, *rescaled)
    limits = np.iinfo(np.int16)
    return np.dtype(np.int16 if limits.min <= low and high <= limits.max else np.int32)


def _fitting(file: Path, plane: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        if plane.dtype.kind == "f" or plane.min() < limits.min or plane.max() > limits.max:
            found = f"values from {plane.min():g} to {plane.max():g}"
            remedy = "The header does not fit the pixels: export the file again."
            message = refusal(file.name, expected="values of the stated bit depth", found=found, remedy=remedy)
            raise UnreadableInputError(message)
    return plane
