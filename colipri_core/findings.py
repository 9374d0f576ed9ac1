"""What a classification says: findings with probabilities, and maps of where the evidence lies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.provenance import Provenance
from colipri_core.volume import Volume


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingEvidence:
    """Where a volume speaks for a finding most.

    Args:
        place_ras: World position of the peak of its evidence map, RAS+ mm: the centre of a voxel.
        value: Difference of cosine similarities there; it ranks places and is not a probability.
    """

    place_ras: tuple[float, float, float]
    value: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One abnormality and how probable the model holds it.

    Args:
        name: Name shown to people, such as "Pleural effusion", or the free text that was asked for.
        code: Code with its scheme, such as "SCT:60046008"; empty for free text.
        probability: Model output in [0, 1].
        calibrated: Whether the probability was calibrated on held-out data.
        evidence: Where the volume speaks for it most; None where that is not known.
    """

    name: str
    code: str
    probability: float
    calibrated: bool
    evidence: FindingEvidence | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """All findings of one classification.

    Args:
        case: Name of the volume.
        items: The findings in the order they were asked for.
        provenance: What produced them.
    """

    case: str
    items: tuple[Finding, ...]
    provenance: Provenance

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.items:
            if finding.name.lower() == name.lower():
                return finding
        names = ", ".join(finding.name for finding in self.items)
        msg = f'No finding "{name}". Available: {names}.'
        raise KeyError(msg)

    def sorted(self) -> tuple[Finding, ...]:
        """The findings, most probable first."""
        return tuple(sorted(self.items, key=lambda finding: -finding.probability))

    def to_json(self) -> dict[str, Any]:
        """Return `{"case", "model", "findings", "provenance"}`."""
        return {
            "case": self.case,
            "model": self.provenance.model.to_json(),
            "findings": [finding.to_json() for finding in self.items],
            "provenance": self.provenance.to_json(),
        }


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceMap:
    """Where in the volume the model sees a phrase.

    The values are differences of cosine similarities (the phrase against its absence), in [-2, 2]: they rank places,
    they are no probabilities.

    Args:
        text: The phrase.
        values: float32 array on the source volume's own grid; NaN where the model did not look.
        geometry: The source volume's grid.
        peak_ras: World position of the highest value, RAS+ mm.
        peak_value: The value there.
        provenance: What produced the map.
    """

    text: str
    values: npt.NDArray[np.float32]
    geometry: VolumeGeometry
    peak_ras: Points
    peak_value: float
    provenance: Provenance

    def as_volume(self) -> Volume:
        """The map as a volume (unit "cosine")."""
        return Volume(voxels=self.values, affine=self.geometry.affine, unit="cosine", name=self.text)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the voxels."""
        return {
            "text": self.text,
            "unit": "difference of cosine similarities, not a probability",
            "peak_ras": [round(float(value), 2) for value in self.peak_ras],
            "peak_value": float(self.peak_value),
            "provenance": self.provenance.to_json(),
        }
