"""A stored phantom of two lungs, with a nodule or without, small enough for any test."""

from __future__ import annotations

import numpy as np

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.store import StoredCase
from colipri_training.data.store import StoredSentence

NODULE = CT_RATE_FINDINGS.index("Lung nodule")


def stored(seed: int, *, nodule: bool) -> StoredCase:
    """A body with two lungs on a 48-cube at 8 mm; with a nodule, or without."""
    x, y, z = np.meshgrid(*(np.arange(48) - 23.5,) * 3, indexing="ij")
    hu = np.where(x**2 + 2 * y**2 < 20**2, 40, -1000)
    hu[(np.abs(x) - 8) ** 2 + y**2 + (z / 2) ** 2 < 6**2] = -820
    ball = (x - 8) ** 2 + y**2 + z**2 < 9
    if nodule:
        hu[ball] = 60
    text = "There is a lung nodule." if nodule else "No lung nodule."
    return StoredCase(
        seed=seed,
        hu=hu.astype(np.int16),
        labels=np.zeros(hu.shape, np.uint8),
        lesions=(ball & nodule).astype(np.int32) << NODULE,
        present=(NODULE,) if nodule else (),
        report=text,
        sentences=(StoredSentence(text=text, finding=NODULE, positive=nodule),),
    )
