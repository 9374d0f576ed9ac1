"""Which findings a data set is labelled for, and which of the model's 18 scores answer each.

CT-RATE has the 18 findings. RAD-ChestCT has 16 of them by the mapping of the CT-CLIP protocol: it does not tell
coronary from other calcification, so the greater of the two scores answers, and it has no mosaic attenuation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.layouts.rad_chestct import RAD_CHESTCT_COLUMNS

Floats = npt.NDArray[np.float64]

_MERGED = {"Arterial wall calcification": ("Arterial wall calcification", "Coronary artery wall calcification")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The findings under test.

    Args:
        name: Of the set.
        findings: Their names.
        columns: For each, which of CT-RATE's 18 scores answer it; the greatest counts.
    """

    name: str
    findings: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]

    def scores(self, values: Floats) -> Floats:
        """Bring scores (N, 18), NaN where there is none, to the findings of this set, (N, F)."""
        return np.stack([np.fmax.reduce(values[:, list(columns)], axis=1) for columns in self.columns], axis=1)

    def labels(self, cases: Sequence[Mapping[str, int]]) -> Floats:
        """Return labels (N, F): 1 present, 0 absent, NaN unknown; present if any of those a finding joins is.

        Args:
            cases: Labels of each case by CT-RATE's names.
        """
        rows = [[_label(labels, columns) for columns in self.columns] for labels in cases]
        return np.array(rows, dtype=np.float64).reshape(len(cases), len(self.findings))

    def spread(self, values: Floats) -> Floats:
        """Bring scores of these findings (N, F) to CT-RATE's 18 columns, NaN where there is none."""
        table = np.full((len(values), len(CT_RATE_FINDINGS)), np.nan)
        table[:, [columns[0] for columns in self.columns]] = values
        return table


def label_set(names: Iterable[str]) -> LabelSet:
    """Return the label set of a data set that has labels of these names; other names are left out.

    Args:
        names: Names of the labels that occur.

    Raises:
        ValueError: If none of them is one of the 18 findings.
    """
    known = set(names)
    findings = tuple(name for name in CT_RATE_FINDINGS if name in known)
    if not findings:
        msg = f"Expected labels of the 18 findings, such as {CT_RATE_FINDINGS[9]!r}, found {sorted(known)[:5]}."
        raise ValueError(msg)
    if set(findings) == set(RAD_CHESTCT_COLUMNS):
        columns = tuple(_indices(_MERGED.get(name, (name,))) for name in findings)
        return LabelSet(name="rad-chestct-16", findings=findings, columns=columns)
    columns = tuple(_indices((name,)) for name in findings)
    return LabelSet(name=f"ct-rate-{len(findings)}", findings=findings, columns=columns)


def _indices(names: Iterable[str]) -> tuple[int, ...]:
    return tuple(CT_RATE_FINDINGS.index(name) for name in names)


def _label(labels: Mapping[str, int], columns: Iterable[int]) -> float:
    known = [labels[CT_RATE_FINDINGS[column]] for column in columns if CT_RATE_FINDINGS[column] in labels]
    return float(max(known)) if known else np.nan
