"""Cases that can be found again: embeddings, what is stored of a case, filters, and matches."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from typing import Any
from typing import Protocol

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Points
from colipri_core.provenance import Provenance

Vector = npt.NDArray[np.float32]

PLANES = ("axial", "coronal", "sagittal")
"""Planes a case has a thumbnail of."""


class RegionMask(Protocol):
    """A part of a volume: a mask in a box of the volume's own grid, such as an edited object or a drawn lesion."""

    @property
    def lower(self) -> tuple[int, int, int]:
        """Voxel index of the box's first corner."""
        ...

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Which voxels of the box belong to the region; outside the box none do."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """A unit vector of the joint space of images and texts, and the model it belongs to.

    Args:
        vector: float32 (E,), of unit length.
        provenance: What produced it. Vectors of different weights cannot be compared.
    """

    vector: Vector
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"vector": [float(value) for value in self.vector], "provenance": self.provenance.to_json()}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RegionEmbedding:
    """A unit vector of a part of a volume.

    Args:
        name: A lung zone such as "Right upper lung zone", or empty for a cell of the regular grid.
        center_ras: Its centre, RAS+ mm (3,).
        vector: float32 (E,), of unit length.
    """

    name: str
    center_ras: Points
    vector: Vector


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseSource:
    """A scan and what is known of it besides its voxels.

    Args:
        case: Its name in the store, unique there.
        path: File or folder of the scan.
        report: Report text, any script; empty without one.
        findings: Names of findings it is known to have; None to read them from the report.
        age: Age of the patient in years.
        sex: "F", "M", "O" or empty, as in DICOM.
        date: Day of the study.
        tags: The user's own words.
    """

    case: str
    path: str
    report: str = ""
    findings: tuple[str, ...] | None = None
    age: float | None = None
    sex: str = ""
    date: datetime.date | None = None
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CaseRecord:
    """All a store keeps of a case.

    Args:
        source: The scan and what is known of it; its findings are decided.
        embedding: Of the whole volume.
        regions: Of parts of it.
        sentences: Unit vector of each sentence of the report.
        thumbnails: Plane -> PNG picture.
        volume_sha256: Hash of voxels and geometry.
    """

    source: CaseSource
    embedding: Embedding
    regions: tuple[RegionEmbedding, ...] = ()
    sentences: Mapping[str, Vector] = dataclasses.field(default_factory=dict)
    thumbnails: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    volume_sha256: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseFilter:
    """Which cases of a store to look at; every given condition must hold.

    Args:
        finding: A finding the case has; the exact name, case matters not.
        tag: One of its tags.
        sex: "F", "M" or "O".
        age: Youngest and oldest age in years, both included; None leaves an end open.
        dates: First and last day of the study, both included; None leaves an end open.
    """

    finding: str = ""
    tag: str = ""
    sex: str = ""
    age: tuple[float | None, float | None] = (None, None)
    dates: tuple[datetime.date | None, datetime.date | None] = (None, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredCase:
    """A case as a store has it.

    Args:
        case: Its name.
        path: Where the scan was when it was added.
        report: Report text.
        findings: Findings it is known to have.
        age: Age in years, None if unknown.
        sex: As in DICOM, or empty.
        date: Day of the study.
        tags: The user's own words.
        thumbnails: Plane -> PNG picture.
        volume_sha256: Hash of voxels and geometry.
        warnings: What was said of the scan when it was encoded.
    """

    case: str
    path: str
    report: str
    findings: tuple[str, ...] = ()
    age: float | None = None
    sex: str = ""
    date: datetime.date | None = None
    tags: tuple[str, ...] = ()
    thumbnails: Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)
    volume_sha256: str = ""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the pictures."""
        return {
            "case": self.case,
            "path": self.path,
            "report": self.report,
            "findings": list(self.findings),
            "age": self.age,
            "sex": self.sex,
            "date": self.date.isoformat() if self.date is not None else None,
            "tags": list(self.tags),
            "warnings": list(self.warnings),
        }

    @property
    def source(self) -> CaseSource:
        """What it was added from, to encode it again."""
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(CaseSource)}
        return CaseSource(**shared)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """The part of a match that is most like the query.

    Args:
        name: A lung zone, or empty.
        center_ras: Its centre in the match's own patient coordinates, RAS+ mm.
    """

    name: str
    center_ras: tuple[float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match(StoredCase):
    """A stored case and how far it is from what was searched for.

    Args:
        distance: Cosine distance, 1 - cosine similarity, in [0, 2]. It ranks cases; it is no probability.
        place: Where in the match, for a search by region; None for one by the whole volume or a phrase.
    """

    distance: float
    place: Place | None = None

    def to_json(self) -> dict[str, Any]:
        """Return `{"case", "distance", "path", "report"}`."""
        return {"case": self.case, "distance": self.distance, "path": self.path, "report": self.report}

    def shared_findings(self, findings: frozenset[str]) -> tuple[str, ...]:
        """Findings of the match that are also in `findings`."""
        return tuple(name for name in self.findings if name in findings)

    def other_findings(self, findings: frozenset[str]) -> tuple[str, ...]:
        """Findings of the match that are not in `findings`."""
        return tuple(name for name in self.findings if name not in findings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceMatch:
    """A sentence of a stored report and how far it is from what was searched for.

    Args:
        text: The sentence.
        distance: Cosine distance, in [0, 2].
        case: One of the cases whose report has it.
    """

    text: str
    distance: float
    case: str


class CaseSearch(Protocol):
    """What a session needs of a store."""

    def search(
        self, query: Embedding, k: int = 5, *, where: CaseFilter | None = None, by_region: bool = False
    ) -> list[Match]:
        """Return the nearest cases, nearest first.

        Args:
            query: What to look for.
            k: How many.
            where: Which cases to look at.
            by_region: Compare with the parts of the cases instead of the whole.
        """
        ...


def check_store(store: object) -> None:
    """Refuse what names a store where an open one is needed, before any work is done.

    Raises:
        TypeError: If it is a path or an address.
    """
    if isinstance(store, (str, os.PathLike)):
        msg = f'Expected an open case store, got "{store}". Open it: colipri_core.open_store("{store}").'
        raise TypeError(msg)
