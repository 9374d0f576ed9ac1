"""RAD-ChestCT: 3,630 public chest CT as arrays, with labels by abnormality and location.

    trn00001.npz, val..., tst...       also in images/; `ct`: int16 HU, 0.8 mm, axes to inferior, posterior, left
    img{train,valid,test}_Abnormality_and_Location_Labels.csv
    CT_Scan_Metadata_Complete_35747.csv     MRN_DEID, the patient, if it is there

Axes and spacing are those of the published preprocessing (slices sorted from the top, transposed to slice, row,
column). Labels become those of CT-RATE by the mapping of the CT-CLIP protocol: an abnormality is present if it is in
any location; both kinds of calcification count as "Arterial wall calcification"; two of CT-RATE's 18 have no
counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import ManifestError
from colipri_training.data.manifest import summarise
from colipri_training.data.manifest_files import read_table

RAD_CHESTCT_COLUMNS: dict[str, tuple[str, ...]] = {
    "Medical material": (
        "catheter_or_port",
        "tracheal_tube",
        "chest_tube",
        "breast_implant",
        "pacemaker_or_defib",
        "stent",
        "clip",
        "staple",
        "gi_tube",
        "hardware",
        "suture",
    ),
    "Arterial wall calcification": ("calcification",),
    "Cardiomegaly": ("cardiomegaly",),
    "Pericardial effusion": ("pericardial_effusion",),
    "Hiatal hernia": ("hernia",),
    "Lymphadenopathy": ("lymphadenopathy",),
    "Emphysema": ("emphysema",),
    "Atelectasis": ("atelectasis",),
    "Lung nodule": ("nodule", "nodulegr1cm"),
    "Lung opacity": ("opacity",),
    "Pulmonary fibrotic sequela": ("scarring",),
    "Pleural effusion": ("pleural_effusion",),
    "Peribronchial thickening": ("bronchial_wall_thickening",),
    "Consolidation": ("consolidation",),
    "Bronchiectasis": ("bronchiectasis",),
    "Interlobular septal thickening": ("septal_thickening",),
}
"""CT-RATE's names, and the abnormalities of RAD-ChestCT that count as each."""

_SPLITS = {"trn": ("train", "train"), "val": ("validation", "valid"), "tst": ("test", "test")}
_METADATA = "CT_Scan_Metadata_Complete_35747.csv"
_KEY = "NoteAcc_DEID"


def rad_chestct(folder: Path) -> Manifest:
    """Make the manifest of RAD-ChestCT.

    Args:
        folder: Where the arrays and tables lie.

    Raises:
        ManifestError: If there are no arrays, or their label table is missing.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    files = {file.stem: file for file in sorted(images.glob("*.npz")) if file.stem[:3] in _SPLITS}
    labels: dict[str, dict[str, int]] = {}
    for prefix in sorted({stem[:3] for stem in files}):
        labels |= _labels(folder / f"img{_SPLITS[prefix][1]}_Abnormality_and_Location_Labels.csv")
    patients, notes = _patients(folder / _METADATA)
    entries = tuple(
        Entry(
            id=stem,
            image=file,
            patient=patients.get(stem, stem),
            split=_SPLITS[stem[:3]][0],
            labels=labels.get(stem, {}),
        )
        for stem, file in files.items()
    )
    absent = sorted(labels.keys() - files.keys())
    if absent:
        notes.append(f"{len(absent)} labelled volumes have no image and were skipped: {summarise(absent)}.")
    return Manifest(entries=entries, notes=tuple(notes))


def _labels(path: Path) -> dict[str, dict[str, int]]:
    columns, rows = read_table(path)
    if _KEY not in columns:
        msg = f'Expected the column {_KEY} in "{path.name}", found others. Download it again.'
        raise ManifestError(msg)
    located = {
        name: [column for column in columns if column.split("*", 1)[0] in abnormalities and "*" in column]
        for name, abnormalities in RAD_CHESTCT_COLUMNS.items()
    }
    return {row[_KEY] or "": {name: _any(row, places) for name, places in located.items() if places} for row in rows}


def _any(row: Mapping[str, str | None], columns: list[str]) -> int:
    return int(any(float(row[column] or 0.0) > 0 for column in columns))


def _patients(path: Path) -> tuple[dict[str, str], list[str]]:
    if not path.is_file():
        return {}, [f"{path.name} is not there: every volume counts as a patient of its own, in its published split."]
    _, rows = read_table(path)
    return {row[_KEY] or "": row["MRN_DEID"] or row[_KEY] or "" for row in rows}, []
