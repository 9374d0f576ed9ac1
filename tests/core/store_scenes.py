"""Records and queries for tests of the case store: unit vectors that need no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from colipri_core.cases import CaseRecord
from colipri_core.cases import CaseSource
from colipri_core.cases import Embedding
from colipri_core.cases import RegionEmbedding
from colipri_core.cases import Vector
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance

DIMENSION = 16


def card(sha256: str = "a" * 64) -> ModelCard:
    return ModelCard(
        name="model-" + sha256[0],
        sha256=sha256,
        kind="colipri",
        training_data="None.",
        synthetic=True,
        licence="Apache-2.0",
    )


def unit(seed: int) -> Vector:
    """A random direction; those of different seeds are nearly at right angles."""
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def between(first: Vector, second: Vector, share: float) -> Vector:
    """A unit vector on the way from one to another."""
    vector = (1 - share) * first + share * second
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def embedding(vector: Vector, sha256: str = "a" * 64) -> Embedding:
    provenance = Provenance(model=card(sha256), preprocessing={}, versions={}, device="cpu", timings={})
    return Embedding(vector=vector, provenance=provenance)


def record(number: int, *, sha256: str = "a" * 64, regions: tuple[Vector, ...] = (), **source: Any) -> CaseRecord:
    """Case "case-NUMBER" with the vector of its number, and a sentence with the same one."""
    values: dict[str, Any] = {
        "case": f"case-{number}",
        "path": str(Path("scans", f"{number}.nii.gz").resolve()),
        "report": f"Report {number}.",
        "findings": (),
        **source,
    }
    parts = regions or (unit(1000 + number),)
    return CaseRecord(
        source=CaseSource(**values),
        embedding=embedding(unit(number), sha256),
        regions=tuple(
            RegionEmbedding(name="", center_ras=np.array([10.0 * place, 0.0, float(number)]), vector=vector)
            for place, vector in enumerate(parts)
        ),
        sentences={values["report"]: unit(number)},
        thumbnails={"axial": b"png"},
        volume_sha256=f"{number:064x}",
    )
