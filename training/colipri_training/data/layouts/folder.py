"""A plain folder: every image file and every folder of DICOM slices in it, at any depth.

A text file of the same stem (`chest.txt` beside `chest.nii.gz`, or beside the DICOM folder `chest`) is its report.
Every volume counts as a patient of its own, in the split "train": write the patients and splits into the manifest
where people were scanned twice.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from colipri_core.io.dicom_headers import is_dicom
from colipri_core.io.suffixes import DICOM_SUFFIX
from colipri_core.io.suffixes import ITK_SUFFIXES
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.io.suffixes import SEG_NRRD_SUFFIX
from colipri_core.io.suffixes import without_suffix
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import has_words
from colipri_training.data.manifest import summarise


def plain_folder(folder: Path) -> Manifest:
    """Make the manifest of a folder.

    Args:
        folder: Where the images lie.

    Raises:
        ManifestError: If there is none.
    """
    images: list[Path] = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        if _holds_slices(Path(place), files):
            images.append(Path(place))
        images += [Path(place) / name for name in sorted(files) if _is_image(name) and not name.startswith(".")]
    entries = tuple(_entry(folder, image) for image in images)
    silent = [entry.id for entry in entries if entry.report is None]
    told = f"{len(silent)} volumes have no report beside them and count as image only: {summarise(silent)}."
    return Manifest(entries=entries, notes=(told,) if silent else ())


def _holds_slices(place: Path, files: list[str]) -> bool:
    if any(name.lower().endswith(DICOM_SUFFIX) for name in files):
        return True
    unnamed = next((name for name in sorted(files) if "." not in name), None)
    return unnamed is not None and is_dicom(place / unnamed)


def _is_image(name: str) -> bool:
    lowered = name.lower()
    return lowered.endswith(NIFTI_SUFFIXES + ITK_SUFFIXES) and not lowered.endswith(SEG_NRRD_SUFFIX)


def _entry(folder: Path, image: Path) -> Entry:
    stem = without_suffix(image.name)
    parts = [*image.relative_to(folder).parts[:-1], stem]
    identifier = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts)).strip("-._") or "volume"
    text = image.with_name(f"{stem}.txt")
    report = text.read_text(encoding="utf-8").strip() if text.is_file() else None
    return Entry(
        id=identifier,
        image=image,
        patient=identifier,
        split="train",
        report=report if has_words(report) else None,
    )
