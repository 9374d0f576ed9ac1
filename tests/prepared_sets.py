"""A small data set with reports and labels, prepared on the grid of the smoke recipes, with what a run needs of it."""

from __future__ import annotations

from pathlib import Path

from data_sets import write_chest

from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.prepare import PrepareOptions
from colipri_training.data.prepare import prepare
from colipri_training.recipes.registry import RECIPES

FINDINGS = {
    "Pleural effusion": "There is a small pleural effusion.",
    "Lung nodule": "A nodule is seen in the lower lobe.",
    "Emphysema": "Emphysema is observed.",
    "Cardiomegaly": "The heart is enlarged.",
}
PAIRED, IMAGE_ONLY, VALIDATION = 8, 4, 4


def entry(folder: Path, number: int, split: str, *, report: bool) -> Entry:
    """A chest of its own patient; its report affirms one finding and denies another."""
    names = list(FINDINGS)
    there, absent = names[number % 4], names[(number + 1) % 4]
    text = f"Findings: Scan {number}. {FINDINGS[there]} No {absent.lower()} is seen.\nImpression: {there}."
    return Entry(
        id=f"{split}{number:03d}",
        image=write_chest(folder / f"{split}{number:03d}.nii.gz", seed=number),
        patient=f"{split}{number}",
        split=split,
        report=text if report else None,
        labels={there: 1, absent: 0} if report else {},
    )


def prepare_for_smoke(folder: Path) -> Path:
    """Write and prepare the data set; returns its folder."""
    entries = [
        *(entry(folder / "in", number, "train", report=number < PAIRED) for number in range(PAIRED + IMAGE_ONLY)),
        *(entry(folder / "in", number, "validation", report=True) for number in range(VALIDATION)),
    ]
    spec = RECIPES["smoke-crm"](vocab_size=1).preprocessing
    prepare(Manifest(entries=tuple(entries)), folder / "prepared", PrepareOptions(spec=spec))
    return folder / "prepared"
