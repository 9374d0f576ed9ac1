"""Results on the wire: body and arrays of each kind, and the way back.

Plain results (`Findings`, `Report`, `ModelCard`, `Capabilities`, `SentenceMatch`, `CaseFilter`) travel as `to_plain`
gives them. Those with arrays have a pair of functions here: `x_parts` gives body and arrays, `x_from` takes a frame.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import RegionEmbedding
from colipri_core.errors import ProtocolError
from colipri_core.findings import EvidenceMap
from colipri_core.geometry import VolumeGeometry
from colipri_core.provenance import Provenance
from colipri_core.remote.protocol.arrays import Array
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.volumes import Rows
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation

Parts = tuple[dict[str, Any], dict[str, Array]]
"""Body and arrays of a frame."""

LABEL_TYPES = ("uint8", "uint16")


def evidence_parts(found: EvidenceMap) -> Parts:
    """Body and arrays of an evidence map; its grid is that of the session's volume."""
    body = {"text": found.text, "provenance": to_plain(found.provenance)}
    peak = np.array([*found.peak_ras, found.peak_value], dtype=np.float64)
    return body, {"values": found.values, "peak": peak}


def evidence_from(frame: Frame, geometry: VolumeGeometry) -> EvidenceMap:
    """Make an evidence map of a frame.

    Args:
        frame: What came.
        geometry: Grid of the session's volume.

    Raises:
        ProtocolError: If it is something else.
    """
    body = from_plain(_Evidence, frame.body)
    peak = frame.array("peak", dtypes=("float64",), shape=(4,))
    values = frame.array("values", dtypes=("float32",), shape=geometry.shape)
    return EvidenceMap(
        text=body.text,
        values=values,
        geometry=geometry,
        peak_ras=peak[:3],
        peak_value=float(peak[3]),
        provenance=body.provenance,
    )


def segmentation_parts(found: Segmentation) -> Parts:
    """Body and arrays of a segmentation."""
    body = {
        "segments": to_plain(found.segments),
        "provenance": to_plain(found.provenance),
        "affine": found.geometry.affine.tolist(),
        "uncertainty": found.uncertainty,
    }
    return body, {"labelmap": found.labelmap}


def segmentation_from(frame: Frame, *, shape: tuple[int, int, int], body: dict[str, Any] | None = None) -> Segmentation:
    """Make a segmentation of a frame.

    Args:
        frame: What came.
        shape: Shape of the volume it must lie on.
        body: The part of the frame's body that describes it, if it is not all of it.

    Raises:
        ProtocolError: If it is something else, or lies on a grid of another shape.
    """
    described = from_plain(_Segmentation, frame.body if body is None else body)
    labelmap = frame.array("labelmap", dtypes=LABEL_TYPES, shape=shape)
    try:
        return Segmentation(
            labelmap=labelmap,
            geometry=VolumeGeometry(shape=shape, affine=np.asarray(described.affine)),
            segments=described.segments,
            provenance=described.provenance,
            uncertainty=described.uncertainty,
        )
    except ValueError as error:
        msg = f"Expected a segmentation ({error})"
        raise ProtocolError(msg) from error


def embeddings_parts(found: Sequence[Embedding]) -> Parts:
    """Body and arrays of embeddings; equal origins are sent once."""
    origins: list[Provenance] = []
    for item in found:
        if item.provenance not in origins:
            origins.append(item.provenance)
    body = {
        "origins": to_plain(origins),
        "origin_of": [origins.index(item.provenance) for item in found],
    }
    return body, {"vectors": _stacked([item.vector for item in found])}


def embeddings_from(frame: Frame) -> tuple[Embedding, ...]:
    """Make embeddings of a frame.

    Raises:
        ProtocolError: If it is something else.
    """
    body = from_plain(_Embeddings, frame.body)
    vectors = frame.array("vectors", dtypes=("float32",), shape=(len(body.origin_of), None))
    if not all(0 <= number < len(body.origins) for number in body.origin_of):
        msg = "Expected the origin of each embedding, found numbers of none."
        raise ProtocolError(msg)
    return tuple(
        Embedding(vector=vector, provenance=body.origins[number])
        for vector, number in zip(vectors, body.origin_of, strict=True)
    )


def regions_parts(found: Sequence[RegionEmbedding]) -> Parts:
    """Body and arrays of the embeddings of a volume's parts."""
    centers = np.array([item.center_ras for item in found], dtype=np.float64).reshape(-1, 3)
    body = {"names": [item.name for item in found]}
    return body, {"vectors": _stacked([item.vector for item in found]), "centers": centers}


def regions_from(frame: Frame) -> tuple[RegionEmbedding, ...]:
    """Make the embeddings of a volume's parts of a frame.

    Raises:
        ProtocolError: If it is something else.
    """
    names = from_plain(_Regions, frame.body).names
    vectors = frame.array("vectors", dtypes=("float32",), shape=(len(names), None))
    centers = frame.array("centers", dtypes=("float64",), shape=(len(names), 3))
    return tuple(
        RegionEmbedding(name=name, center_ras=center, vector=vector)
        for name, center, vector in zip(names, centers, vectors, strict=True)
    )


def matches_parts(found: Sequence[Match]) -> Parts:
    """Body and arrays of matches; their pictures travel as one array of bytes."""
    matches: list[dict[str, Any]] = []
    pictures: list[bytes] = []
    for match in found:
        plain = to_plain(dataclasses.replace(match, thumbnails={}))
        plain["thumbnails"] = {plane: len(picture) for plane, picture in match.thumbnails.items()}
        pictures += match.thumbnails.values()
        matches.append(plain)
    return {"matches": matches}, {"thumbnails": np.frombuffer(b"".join(pictures), dtype=np.uint8)}


def matches_from(frame: Frame) -> list[Match]:
    """Make matches of a frame.

    Raises:
        ProtocolError: If it is something else.
    """
    described = from_plain(_Matches, frame.body).matches
    sizes = [match.pop("thumbnails", {}) for match in described]
    lengths = [from_plain(_Sizes, {"sizes": size}).sizes for size in sizes]
    total = sum(itertools.chain.from_iterable(length.values() for length in lengths))
    content = frame.array("thumbnails", dtypes=("uint8",), shape=(total,)).tobytes()
    matches, start = [], 0
    for plain, length in zip(described, lengths, strict=True):
        pictures = {}
        for plane, size in length.items():
            pictures[plane] = content[start : start + max(0, size)]
            start += size
        matches.append(dataclasses.replace(from_plain(Match, plain), thumbnails=pictures))
    return matches


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Evidence:
    text: str
    provenance: Provenance


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Segmentation:
    segments: tuple[Segment, ...]
    affine: Rows
    provenance: Provenance | None = None
    uncertainty: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Embeddings:
    origins: tuple[Provenance, ...]
    origin_of: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Regions:
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Matches:
    matches: tuple[dict[str, Any], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sizes:
    sizes: dict[str, int]


def _stacked(vectors: Iterable[npt.NDArray[np.float32]]) -> Array:
    rows = [np.asarray(vector, dtype=np.float32) for vector in vectors]
    return np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
