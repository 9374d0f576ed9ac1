"""What is known about one phantom: its lesions, its report, and where it belongs in the split."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

import numpy as np

VALIDATION_FIRST_SEED = 1_000_000
TEST_FIRST_SEED = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One finding of one phantom, as it was drawn.

    Attributes:
        finding: Index into the 18 CT-RATE findings.
        side: "left", "right", "bilateral" or "midline" (the patient's side).
        location: Where, in words ("right upper lobe", "descending aorta").
        kind: Which form of the finding ("ground-glass", "pacemaker", "band").
        severity: "mild", "moderate" or "severe".
        size_mm: Largest dimension in mm, or the thickness where that is what radiologists give.
        count: Number of lesions of this kind.
        centroid_ras: RAS+ mm of its middle.
    """

    finding: int
    side: str
    location: str
    kind: str
    severity: str
    size_mm: float
    count: int
    centroid_ras: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence of a report: the finding it speaks of (None: plain anatomy) and whether it affirms it."""

    text: str
    finding: int | None
    positive: bool


@dataclass(frozen=True, kw_only=True)
class PhantomReport:
    """The two sections of a radiology report, as text."""

    findings: str
    impression: str


@dataclass(frozen=True, kw_only=True)
class PhantomCase:
    """Everything about one phantom except its voxels."""

    seed: int
    affine: np.ndarray
    lesions: list[Lesion]
    report: PhantomReport
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def present(self) -> frozenset[int]:
        """Indices of the findings this phantom has."""
        return frozenset(lesion.finding for lesion in self.lesions)


def split_of(seed: int) -> str:
    """Return the split a seed belongs to: "train" below 1,000,000, "validation" below 2,000,000, else "test"."""
    if seed < VALIDATION_FIRST_SEED:
        return "train"
    return "validation" if seed < TEST_FIRST_SEED else "test"
