"""Bodies of the other requests: questions to a session, texts, searches, and the messages of a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from colipri_core.cases import CaseFilter
from colipri_core.cases import Embedding
from colipri_core.cases import RegionMask
from colipri_core.cases import SentenceMatch
from colipri_core.errors import ProtocolError
from colipri_core.prompts import Crop
from colipri_core.prompts.crop import Index
from colipri_core.provenance import Provenance
from colipri_core.remote.protocol.arrays import Array
from colipri_core.remote.protocol.errors import error_body
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.volumes import VolumeHeader
from colipri_core.report import DraftOptions
from colipri_core.report import ReportSentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextsRequest:
    """Body of `POST /v1/texts`, as JSON; see `Engine.embed_texts`."""

    texts: tuple[str, ...]
    contrast: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenPathRequest:
    """Body of `POST /v1/volumes/open`, as JSON: a file or folder below the server's allowed root."""

    path: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenPathAnswer:
    """Answer to `POST /v1/volumes/open`, as JSON.

    Args:
        volume: Digest of the volume.
        unit: Meaning of the intensities.
        header: Shape, type and place.
        warnings: What the reader said makes results doubtful.
    """

    volume: str
    unit: str
    header: VolumeHeader
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifyRequest:
    """Body of `POST .../classify`, as JSON; None asks for the default list."""

    findings: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceRequest:
    """Body of `POST .../evidence`, as JSON."""

    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentRequest:
    """Body of `POST .../segment`, as JSON; None asks for all structures."""

    structures: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GivenSentence:
    """A sentence of an earlier report, found by the client; see `colipri_core.report.StoredSentence`."""

    text: str
    case: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GivenSentences:
    """Implements `SentenceStore` with what a client found in its own store.

    Args:
        given: The sentences, nearest first.
    """

    given: tuple[GivenSentence, ...]

    def sentences(self, query: Embedding, k: int) -> tuple[GivenSentence, ...]:
        """Return the first k."""
        return self.given[:k]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Body of `POST .../report`, as JSON.

    Args:
        options: How.
        store: Name of a case store of the server; None for none.
        sentences: The nearest sentences of a case store of the client's, nearest first; None for none.
    """

    options: DraftOptions = dataclasses.field(default_factory=DraftOptions)
    store: str | None = None
    sentences: tuple[GivenSentence, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """Body of `POST .../check`, as JSON."""

    sentences: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingRequest:
    """Body of `POST .../embedding`, a frame of kind REQUEST; without a region, the whole volume."""

    region: RegionMask | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SimilarRequest:
    """Body of `POST .../similar`, a frame of kind REQUEST; see `Session.similar`.

    Args:
        store: Name of a case store of the server.
        k: How many cases at most.
        region: A part of the volume; None for the whole.
        where: Which cases to look at.
    """

    store: str
    k: int = 5
    region: RegionMask | None = None
    where: CaseFilter | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SearchRequest:
    """Body of `POST /v1/stores/{name}/search`, a frame of kind REQUEST.

    Args:
        query: What to look for.
        k: How many.
        where: Which cases to look at.
        by_region: Compare with parts of the cases.
        sentences: Look for sentences of reports instead of cases.
    """

    query: Embedding
    k: int = 5
    where: CaseFilter | None = None
    by_region: bool = False
    sentences: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentencesAnswer:
    """Answer to a search for sentences, the body of a RESULT frame."""

    sentences: tuple[SentenceMatch, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgressMessage:
    """Body of a PROGRESS frame."""

    fraction: float
    message: str


def progress_frame(fraction: float, message: str) -> bytes:
    """Return a PROGRESS frame."""
    return frame_bytes(Kind.PROGRESS, {"fraction": float(fraction), "message": message})


def sentence_frame(sentence: ReportSentence) -> bytes:
    """Return a SENTENCE frame."""
    return frame_bytes(Kind.SENTENCE, to_plain(sentence))


def error_frame(error: BaseException) -> bytes:
    """Return an ERROR frame."""
    return frame_bytes(Kind.ERROR, error_body(error))


def result_frame(body: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> bytes:
    """Return a RESULT frame, for long answers packed quickly."""
    large = sum(array.nbytes for array in (arrays or {}).values()) > 32 << 20
    return frame_bytes(Kind.RESULT, body, arrays, fast=large)


def embedding_parts(request: EmbeddingRequest) -> Parts:
    """Body and arrays of a request for an embedding."""
    region, arrays = _region_parts(request.region)
    return {"region": region}, arrays


def embedding_from(frame: Frame, *, shape: Index) -> EmbeddingRequest:
    """Make a request for an embedding of a frame.

    Args:
        frame: What came.
        shape: Shape of the session's volume.

    Raises:
        ProtocolError: If it is something else.
    """
    body = from_plain(_Embedding, frame.body)
    return EmbeddingRequest(region=_region_from(frame, body.region, shape))


def similar_parts(request: SimilarRequest) -> Parts:
    """Body and arrays of a search for cases like a session's."""
    region, arrays = _region_parts(request.region)
    body = {"store": request.store, "k": request.k, "where": to_plain(request.where), "region": region}
    return body, arrays


def similar_from(frame: Frame, *, shape: Index) -> SimilarRequest:
    """Make a search for cases like a session's of a frame.

    Args:
        frame: What came.
        shape: Shape of the session's volume.

    Raises:
        ProtocolError: If it is something else.
    """
    body = from_plain(_Similar, frame.body)
    region = _region_from(frame, body.region, shape)
    return SimilarRequest(store=body.store, k=body.k, region=region, where=body.where)


def search_parts(request: SearchRequest) -> Parts:
    """Body and arrays of a search by vector."""
    body = {
        "provenance": to_plain(request.query.provenance),
        "k": request.k,
        "where": to_plain(request.where),
        "by_region": request.by_region,
        "sentences": request.sentences,
    }
    return body, {"vector": np.asarray(request.query.vector, dtype=np.float32)}


def search_from(frame: Frame) -> SearchRequest:
    """Make a search by vector of a frame.

    Raises:
        ProtocolError: If it is something else.
    """
    body = from_plain(_Search, frame.body)
    vector = frame.array("vector", dtypes=("float32",), shape=(None,))
    query = Embedding(vector=vector, provenance=body.provenance)
    return SearchRequest(query=query, k=body.k, where=body.where, by_region=body.by_region, sentences=body.sentences)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Region:
    lower: Index


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Embedding:
    region: _Region | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Similar:
    store: str
    k: int = 5
    where: CaseFilter | None = None
    region: _Region | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Search:
    provenance: Provenance
    k: int = 5
    where: CaseFilter | None = None
    by_region: bool = False
    sentences: bool = False


def _region_parts(region: RegionMask | None) -> tuple[dict[str, Any] | None, dict[str, Array]]:
    if region is None:
        return None, {}
    lower = tuple(int(index) for index in region.lower)
    return {"lower": list(lower)}, {"region": np.asarray(region.mask, dtype=bool)}


def _region_from(frame: Frame, described: _Region | None, shape: Index) -> Crop | None:
    if described is None:
        return None
    header = frame.packed.get("region")
    size = header[0].shape if header else ()
    if any(axis > limit for axis, limit in zip(size, shape, strict=False)):
        msg = f"Expected a region of a volume of {shape}, found one of {size}."
        raise ProtocolError(msg)
    mask = frame.array("region", dtypes=("bool",), shape=(None, None, None))
    try:
        return Crop(lower=described.lower, mask=mask)
    except ValueError as error:
        raise ProtocolError(str(error)) from error
