"""CT-RATE: 25,692 chest CT scans with reports, several reconstructions each, as NIfTI files and CSV tables.

    dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz      (version 1: train/, valid/)
    dataset/radiology_text_reports/{train,validation}_reports.csv
    dataset/multi_abnormality_labels/{train,valid}_predicted_labels.csv
    dataset/metadata/{train,validation}_metadata.csv, no_chest_{train,valid}.txt

The trap. Files of version 1 hold stored values under an empty header: rescale slope and intercept, spacing, origin and
direction stand in the metadata table alone. Files of version 2 ("fixed") are in HU with true headers, and the same
table must not be applied again, as the code published with the data does. `prepare` refuses volumes whose intensities
say that the wrong version was named.

The published validation part, on which models are compared, is the split "test" here; one in fifty patients of the
training part (our choice), told by a hash of the name, is the split "validation".
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from colipri_core.geometry import ras_to_lps
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.manifest import Correction
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import ManifestError
from colipri_training.data.manifest import join_report
from colipri_training.data.manifest import summarise
from colipri_training.data.manifest_files import read_table

_NAME = re.compile(r"(?P<patient>(?:train|valid)_\d+)_[a-z]+_\d+\.nii\.gz")
_PARTS = {"train": "train", "valid": "validation"}
_HELD_OUT = 50

Row = Mapping[str, str | None]


def ct_rate(folder: Path, *, version: int) -> Manifest:
    """Make the manifest of CT-RATE, or of the part of it that is there.

    Args:
        folder: The download, or its `dataset` folder.
        version: 1 (stored values) or 2 (`train_fixed`, `valid_fixed`: HU).

    Raises:
        ManifestError: If there are no volumes, or a table is missing that they need.
    """
    root = folder / "dataset" if (folder / "dataset").is_dir() else folder
    suffix = "_fixed" if version == 2 else ""
    parts = [part for part in _PARTS if (root / f"{part}{suffix}").is_dir()]
    if not parts:
        msg = f'Expected "train{suffix}" or "valid{suffix}" in "{root.name}", found neither. Name the other version?'
        raise ManifestError(msg)
    entries: list[Entry] = []
    notes: list[str] = []
    for part in parts:
        found, passed_over = _part(root, part, suffix)
        entries += found
        notes += passed_over
    return Manifest(entries=tuple(entries), notes=tuple(notes))


def _part(root: Path, part: str, suffix: str) -> tuple[list[Entry], list[str]]:
    files = {file.name: file for file in sorted((root / f"{part}{suffix}").rglob("*.nii.gz"))}
    odd = {name for name in files if not _NAME.fullmatch(name)}
    elsewhere = _no_chest(root / "metadata" / f"no_chest_{part}.txt") & files.keys()
    reports = _table(root / "radiology_text_reports" / f"{_PARTS[part]}_reports.csv")
    labels_file = root / "multi_abnormality_labels" / f"{part}_predicted_labels.csv"
    labels = _table(labels_file) if labels_file.is_file() else {}
    kept = [name for name in files if name not in elsewhere and name not in odd]
    fixes: dict[str, Correction | None] = dict.fromkeys(kept)
    if not suffix:
        headers = _table(root / "metadata" / f"{_PARTS[part]}_metadata.csv")
        fixes = {name: fix for name in kept if (fix := _correction(headers.get(name, {}))) is not None}
    unplaced = sorted(set(kept) - fixes.keys())
    silent = [name for name in kept if _report(reports.get(name, {})) is None]
    absent = sorted((reports.keys() | labels.keys()) - files.keys())
    notes = {
        f"files of {part} have names of another kind and were skipped": sorted(odd),
        f"volumes of {part} show no chest, says the data set, and were skipped": sorted(elsewhere),
        f"volumes of {part} lack rescaling or position in the metadata and were skipped": unplaced,
        f"reports of {part} are empty or missing; their volumes count as image only": silent,
        f"volumes of {part} have a report or labels, but no image, and were skipped": absent,
    }
    entries = [
        Entry(
            id=name.removesuffix(".nii.gz"),
            image=files[name],
            patient=_patient(name),
            split=_split(part, _patient(name)),
            report=_report(reports.get(name, {})),
            labels=_labels(labels.get(name, {})),
            correction=fix,
            study=name.rsplit("_", 1)[0],
        )
        for name, fix in fixes.items()
    ]
    return entries, [f"{len(names)} {text}: {summarise(names)}." for text, names in notes.items() if names]


def _table(path: Path) -> dict[str, Row]:
    columns, rows = read_table(path)
    if "VolumeName" not in columns:
        msg = f'Expected the column VolumeName in "{path.name}", found {", ".join(columns)}. Download it again.'
        raise ManifestError(msg)
    return {row["VolumeName"] or "": row for row in rows}


def _no_chest(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    names = (line.strip().rsplit("/", 1)[-1] for line in path.read_text(encoding="utf-8").splitlines())
    return {name if name.endswith(".nii.gz") else f"{name}.nii.gz" for name in names if name}


def _patient(name: str) -> str:
    match = _NAME.fullmatch(name)
    assert match, "odd names were sorted out before"
    return match["patient"]


def _split(part: str, patient: str) -> str:
    if part == "valid":
        return "test"
    return "validation" if hashlib.sha256(patient.encode()).digest()[0] % _HELD_OUT == 0 else "train"


def _report(row: Row) -> str | None:
    return join_report(row.get("Findings_EN"), row.get("Impressions_EN"))


def _labels(row: Row) -> dict[str, int]:
    return {name: int(float(row[name] or "")) for name in CT_RATE_FINDINGS if row.get(name)}


def _correction(row: Row) -> Correction | None:
    """Slope, intercept and affine from a row of the metadata (DICOM's LPS); None if one of them cannot be read."""
    try:
        position, orientation, spacing = (
            np.asarray(ast.literal_eval(row[column] or ""), dtype=np.float64)
            for column in ("ImagePositionPatient", "ImageOrientationPatient", "XYSpacing")
        )
        slope, intercept, gap = (float(row[key] or "") for key in ("RescaleSlope", "RescaleIntercept", "ZSpacing"))
        along_row, along_column = orientation.reshape(2, 3)
        columns = [along_row * spacing[0], along_column * spacing[1], np.cross(along_row, along_column) * gap, position]
        affine = ras_to_lps(np.vstack([np.stack(columns, axis=1), [0.0, 0.0, 0.0, 1.0]]))
        return Correction(slope=slope, intercept=intercept, affine=tuple(affine.ravel().tolist()))
    except (KeyError, ValueError, SyntaxError, TypeError, IndexError):
        return None
