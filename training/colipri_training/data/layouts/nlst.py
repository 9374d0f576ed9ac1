"""NLST: low-dose screening CT as DICOM, a folder for each series; images only.

    NLST/100012/<study>/<series>/*.dcm

As the Imaging Data Commons and TCIA deliver it. The patient is the folder named by digits alone, or the uppermost one
where no folder is. Folders of fewer than 30 files (our choice) are localisers. All patients are in the split "train".
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import summarise

_FEWEST_SLICES = 30


def nlst(folder: Path) -> Manifest:
    """Make the manifest of a download of NLST.

    Args:
        folder: The folder above those of the patients.

    Raises:
        ManifestError: If there is no series in it.
    """
    entries, short = [], []
    for place, folders, files in os.walk(folder):
        folders.sort()
        slices = [name for name in files if name.lower().endswith(".dcm") or "." not in name]
        series = Path(place).relative_to(folder)
        if len(slices) >= _FEWEST_SLICES:
            entries.append(_entry(folder, series))
        elif slices:
            short.append(str(series))
    notes = (f"{len(short)} series are too short for a chest and were skipped: {summarise(short)}.",) if short else ()
    return Manifest(entries=tuple(entries), notes=notes)


def _entry(folder: Path, series: Path) -> Entry:
    patient = next((part for part in series.parts if part.isdigit()), series.parts[0] if series.parts else folder.name)
    # Series folders are named by UIDs, or alike in several studies: a hash of the whole path is short and unique.
    digest = hashlib.sha256(series.as_posix().encode()).hexdigest()[:12]
    return Entry(id=f"nlst_{patient}_{digest}", image=folder / series, patient=patient, split="train")
