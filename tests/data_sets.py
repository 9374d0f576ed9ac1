"""Small data sets of real files for tests of manifests, preparing and loading."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from chests import chest

from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest

SPEC = PreprocessSpec(spacing_mm=(8.0, 8.0, 8.0), size=(24, 24, 24))
SIDED = "Findings: A nodule in the left lung."


def write_chest(path: Path, *, seed: int = 0, spacing: tuple[float, float, float] = (9.0, 9.0, 10.0)) -> Path:
    """Write a chest of noise `seed` as NIfTI and return its path."""
    volume = chest(spacing=spacing, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume.voxels, volume.affine), path)
    return path


def make_manifest(folder: Path, *, paired: int, image_only: int = 0) -> Manifest:
    """Write volumes, some with a report, and return their manifest; each is of its own patient, in "train"."""
    entries = []
    for number in range(paired + image_only):
        name = f"scan{number:03d}"
        image = write_chest(folder / f"{name}.nii.gz", seed=number)
        report = f"{SIDED} Case {number}." if number < paired else None
        labels = {"Lung nodule": 1, "Emphysema": number % 2} if number < paired else {}
        entries.append(Entry(id=name, image=image, patient=f"p{number}", split="train", report=report, labels=labels))
    return Manifest(entries=tuple(entries))


def cut_in_half(path: Path) -> None:
    """Leave only the first half of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def stored_values(hu: np.ndarray) -> np.ndarray:
    """What a scanner stores for HU with an intercept of -1024."""
    return (hu.astype(np.int32) + 1024).astype(np.int16)
