"""Which scans a folder stands for: each image file below it, and each folder that holds DICOM images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from colipri_core.io.dicom_headers import holds_image
from colipri_core.io.dicom_headers import read_instances
from colipri_core.io.suffixes import ITK_SUFFIXES
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.io.suffixes import SEG_NRRD_SUFFIX
from colipri_core.io.suffixes import without_suffix

SCAN_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES, ".zip")
_DERIVED = (SEG_NRRD_SUFFIX, *(f"_{kind}{suffix}" for kind in ("dseg", "map") for suffix in SCAN_SUFFIXES))
"""Endings of labelmaps and heat maps, also of those in BIDS derivatives: they are no scans."""


def scans_in(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder and the folders with a DICOM image directly in them, in a fixed order.

    Hidden ones, labelmaps, heat maps, and DICOM objects that are no images are left out. It is looked for as the scans
    are asked for, so the first of a large folder comes at once.
    """
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [Path(parent, name) for name in sorted(names) if not name.startswith(".") and name != "DICOMDIR"]
        yield from (file for file in files if is_scan_file(file.name))
        if any(holds_image(file) for file in files if not file.name.lower().endswith(SCAN_SUFFIXES)):
            yield Path(parent)


def is_scan_file(name: str) -> bool:
    """Whether a file's name is that of a scan, and of no labelmap or heat map.

    Args:
        name: Of the file.
    """
    return name.lower().endswith(SCAN_SUFFIXES) and not name.lower().endswith(_DERIVED)


def case_below(scan: Path, folder: Path) -> str:
    """Name of a scan in a folder: its path there without suffix, so that those of two patients stay two cases."""
    return without_suffix(scan.relative_to(folder).as_posix()) if scan != folder else folder.resolve().name


def is_one_scan(folder: Path) -> bool:
    """Whether a folder is to be read as one scan: it holds DICOM images itself, or those below it are of one study.

    A folder without any scan is one too, which cannot be read.
    """
    scans = list(scans_in(folder))
    if folder in scans or not scans:
        return True
    return all(scan.is_dir() for scan in scans) and len({_study_of(scan) for scan in scans}) == 1


def _study_of(folder: Path) -> str:
    """Study Instance UID of the first DICOM image directly in a folder; the folder's path if it cannot be told."""
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        instances, _ = read_instances([file])
        if instances:
            return instances[0].text("StudyInstanceUID") or str(folder)
    return str(folder)
