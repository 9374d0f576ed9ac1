"""`read_volume`: one call for every kind of file or folder a CT comes in."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io.archive import unpacked
from colipri_core.io.checks import check_volume
from colipri_core.io.checks import intensity_doubts
from colipri_core.io.checks import refusal
from colipri_core.io.checks import warn
from colipri_core.io.dicom import read_dicom_file
from colipri_core.io.dicom import read_dicom_folder
from colipri_core.io.dicom_headers import files_in
from colipri_core.io.dicom_headers import is_dicom
from colipri_core.io.itk import read_itk
from colipri_core.io.nifti import read_nifti
from colipri_core.io.suffixes import ITK_SUFFIXES
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.io.suffixes import without_suffix
from colipri_core.volume import Volume

_IMAGE_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES


def read_volume(path: str | os.PathLike[str], *, series: str | int | None = None) -> Volume:
    """Read a CT volume.

    Voxels keep their integers and their place: nothing is reoriented or resampled. What makes results doubtful is
    issued as `VolumeWarning`; `check_volume` returns the same sentences again. Where the intensities cannot be
    Hounsfield units, `unit` is "unknown".

    Args:
        path: A NIfTI, NRRD or MetaImage file; a DICOM folder or file (one slice stands for its series in the same
            folder); or a zip archive of one of these.
        series: Which DICOM series to read where there are several: Series Instance UID, series number, or place in the
            list that `SeveralSeriesError` gives (from 1).

    Returns:
        The volume, named after the file or folder.

    Raises:
        UnreadableInputError: If it is missing, damaged or no image.
        UnsupportedVolumeError: If it is no 3D volume that can be read right.
        SeveralSeriesError: If a DICOM folder holds several series and none was named.
    """
    source = Path(path)
    try:
        volume = _read(source, series, name=without_suffix(source.resolve().name) or "volume")
    except PermissionError as error:
        remedy = "Ask for access, or copy it to a place of your own."
        message = refusal(source.name, expected="a readable file or folder", found="no permission", remedy=remedy)
        raise UnreadableInputError(message) from error
    if intensity_doubts(volume.voxels):
        volume = dataclasses.replace(volume, unit="unknown")
    warn(check_volume(volume))
    return volume


def _read(source: Path, series: str | int | None, *, name: str) -> Volume:
    if source.is_dir():
        os.listdir(source)  # a folder that may not be listed must not look empty
        return read_dicom_folder(source, name=name, series=series)
    if not source.is_file():
        found = "nothing at this path"
        remedy = "Check the spelling, and that the drive is connected."
        raise UnreadableInputError(refusal(source.name, expected="a file or folder", found=found, remedy=remedy))
    lowered = source.name.lower()
    if lowered.endswith(NIFTI_SUFFIXES):
        return read_nifti(source, name=name)
    if lowered.endswith(ITK_SUFFIXES):
        return read_itk(source, name=name)
    if is_dicom(source):
        return read_dicom_file(source, name=name)
    if lowered.endswith(".zip") or zipfile.is_zipfile(source):
        return _read_archive(source, series, name=name)
    found = f"{source.stat().st_size} bytes of another kind"
    remedy = f"Convert it to one of {', '.join(_IMAGE_SUFFIXES)}, or give a DICOM folder."
    raise UnreadableInputError(refusal(source.name, expected="a medical image", found=found, remedy=remedy))


def _read_archive(archive: Path, series: str | int | None, *, name: str) -> Volume:
    with unpacked(archive) as folder:
        images = [file for file in files_in(folder) if file.name.lower().endswith(_IMAGE_SUFFIXES)]
        if not images:
            volume = read_dicom_folder(folder, name=name, series=series)
        elif len(images) == 1:
            volume = _read(images[0], None, name=name)
        else:
            found = ", ".join(file.name for file in images[:5])
            remedy = "Unpack it, and read one of them."
            message = refusal(archive.name, expected="one image or one DICOM series", found=found, remedy=remedy)
            raise UnsupportedVolumeError(message)
    identifiers = volume.metadata.get("dicom")
    if identifiers:
        # The unpacked files are gone by now.
        volume.metadata["dicom"] = {**identifiers, "files": ()}
    return volume
