"""A folder of phantoms as NIfTI files with a manifest: resumable, several processes, replaced atomically.

One phantom is four files: `<name>_ct.nii.gz` (int16 HU), `<name>_structures.nii.gz` (uint8, see `structures`),
`<name>_lesions.nii.gz` (int32, bit f for finding f) and `<name>.json` (its record), which is written last and marks the
phantom as finished. `phantoms.json` keeps the grid, so that a folder never mixes two.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from colipri_core.errors import InputError
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.phantoms.case import PhantomCase
from colipri_training.phantoms.case import split_of
from colipri_training.phantoms.generator import generate
from colipri_training.phantoms.grid import PhantomGrid

_SETTINGS = "phantoms.json"
_MANIFEST = "manifest.csv"
_NAME = re.compile(r"phantom_\d{7}")


def name_of(seed: int) -> str:
    """Return the file stem of a phantom."""
    return f"phantom_{seed:07d}"


def is_name(name: str) -> bool:
    """Whether a volume is named as a phantom."""
    return _NAME.fullmatch(name) is not None


def write_dataset(folder: Path, seeds: Sequence[int], grid: PhantomGrid, *, workers: int = 1) -> Iterator[int]:
    """Write phantoms that a folder does not hold yet, then the manifest of all it holds.

    Args:
        folder: Created if missing.
        seeds: Which phantoms.
        grid: Where to evaluate them.
        workers: Processes.

    Yields:
        Each seed once it is there, those of an earlier run first.

    Raises:
        InputError: If the folder holds phantoms of another grid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_settings(folder, grid)
    missing = [seed for seed in seeds if not (folder / f"{name_of(seed)}.json").exists()]
    yield from sorted(set(seeds) - set(missing))
    make = partial(_write_case, folder, grid)
    if workers == 1:
        yield from map(make, missing)
    else:
        with multiprocessing.get_context("spawn").Pool(workers, initializer=_single_thread) as pool:
            yield from pool.imap_unordered(make, missing)
    _write_manifest(folder)


def _single_thread() -> None:
    torch.set_num_threads(1)


def _check_settings(folder: Path, grid: PhantomGrid) -> None:
    path = folder / _SETTINGS
    settings = json.loads(json.dumps(dataclasses.asdict(grid)))
    if not path.exists():
        _replace_text(path, json.dumps(settings, indent=1))
        return
    found = json.loads(path.read_text())
    if found != settings:
        msg = f"{folder} holds phantoms of the grid {found}, expected {settings}. Choose another folder or that grid."
        raise InputError(msg)


def _write_case(folder: Path, grid: PhantomGrid, seed: int) -> int:
    batch = generate([seed], grid)
    case = batch.cases[0]
    stem = name_of(seed)
    parts = {"ct": (batch.hu, np.int16), "structures": (batch.labels, np.uint8), "lesions": (batch.lesions, np.int32)}
    for part, (tensor, dtype) in parts.items():
        voxels = tensor[0].round().numpy() if tensor.is_floating_point() else tensor[0].numpy()
        _write_nifti(folder / f"{stem}_{part}.nii.gz", voxels.astype(dtype), case.affine)
    _replace_text(folder / f"{stem}.json", json.dumps(_record(case), indent=1))
    return seed


def _record(case: PhantomCase) -> dict[str, object]:
    return {
        "seed": case.seed,
        "split": split_of(case.seed),
        "report": dataclasses.asdict(case.report),
        "lesions": [dataclasses.asdict(lesion) for lesion in case.lesions],
        "sentences": [dataclasses.asdict(sentence) for sentence in case.sentences],
    }


def _write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    partial_path = path.with_name(f".{os.getpid()}_{path.name}")
    nib.save(image, partial_path)
    partial_path.replace(path)


def _replace_text(path: Path, text: str) -> None:
    partial_path = path.with_name(f".{os.getpid()}_{path.name}")
    partial_path.write_text(text)
    partial_path.replace(path)


def column_of(finding: str) -> str:
    """Return the manifest column of a finding: its name in lower case with underscores."""
    return re.sub(r"\W+", "_", finding.lower())


def _write_manifest(folder: Path) -> None:
    """Write one row per finished phantom: files, patient, split, report, 18 labels (0 or 1)."""
    path = folder / _MANIFEST
    partial_path = path.with_name(f".{os.getpid()}_{path.name}")
    labels = [column_of(name) for name in CT_RATE_FINDINGS]
    with partial_path.open("w", newline="") as stream:
        writer = csv.DictWriter(
            stream, ["image", "structures", "lesions", "patient", "split", "findings", "impression", *labels]
        )
        writer.writeheader()
        for record in sorted(folder.glob("phantom_*.json")):
            writer.writerow(_row(json.loads(record.read_text()), labels))
    partial_path.replace(path)


def _row(record: dict[str, Any], labels: list[str]) -> dict[str, object]:
    stem = name_of(record["seed"])
    present = {lesion["finding"] for lesion in record["lesions"]}
    files = {"image": "ct", "structures": "structures", "lesions": "lesions"}
    return (
        {column: f"{stem}_{part}.nii.gz" for column, part in files.items()}
        | {"patient": stem, "split": record["split"], **record["report"]}
        | {label: int(index in present) for index, label in enumerate(labels)}
    )
