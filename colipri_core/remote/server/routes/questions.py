"""Questions to the model about a session's volume; each is a job whose answer streams."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response

from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import CheckRequest
from colipri_core.remote.protocol.questions import ClassifyRequest
from colipri_core.remote.protocol.questions import EvidenceRequest
from colipri_core.remote.protocol.questions import GivenSentences
from colipri_core.remote.protocol.questions import ReportRequest
from colipri_core.remote.protocol.questions import SegmentRequest
from colipri_core.remote.protocol.questions import embedding_from
from colipri_core.remote.protocol.questions import similar_from
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import embeddings_parts
from colipri_core.remote.protocol.results import evidence_parts
from colipri_core.remote.protocol.results import matches_parts
from colipri_core.remote.protocol.results import regions_parts
from colipri_core.remote.protocol.results import segmentation_parts
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.server.bodies import read_frame
from colipri_core.remote.server.bodies import read_json
from colipri_core.remote.server.jobs import Control
from colipri_core.remote.server.schema import answers
from colipri_core.remote.server.schema import frame_body
from colipri_core.remote.server.schema import json_body
from colipri_core.remote.server.service import service_of
from colipri_core.remote.server.stores import check_count
from colipri_core.remote.server.streaming import JobAnswer
from colipri_core.report import SentenceStore

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", default_response_class=Response, responses=answers(None))


@router.post("/classify", openapi_extra=json_body(ClassifyRequest))
async def classify(session: str, request: Request) -> JobAnswer:
    """Probabilities of findings."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, ClassifyRequest, service.wire)

    def work(control: Control) -> Parts:
        found = held.session.classify(asked.findings, progress=control.progress, cancel=control.cancel)
        return to_plain(found), {}

    return service.answer("classify", request, work, held=held)


@router.post("/evidence", openapi_extra=json_body(EvidenceRequest))
async def evidence(session: str, request: Request) -> JobAnswer:
    """Where the model sees a text."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, EvidenceRequest, service.wire)

    def work(control: Control) -> Parts:
        found = held.session.evidence(asked.text, progress=control.progress, cancel=control.cancel)
        return evidence_parts(found)

    return service.answer("evidence", request, work, held=held)


@router.post("/segment", openapi_extra=json_body(SegmentRequest))
async def segment(session: str, request: Request) -> JobAnswer:
    """Outlines of structures."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, SegmentRequest, service.wire)

    def work(control: Control) -> Parts:
        found = held.session.segment(asked.structures, progress=control.progress, cancel=control.cancel)
        return segmentation_parts(found)

    return service.answer("segment", request, work, held=held)


@router.post("/embedding", openapi_extra=frame_body())
async def embedding(session: str, request: Request) -> JobAnswer:
    """The vector of the volume, or of a part of it."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = embedding_from(await read_frame(request, service.wire), shape=held.volume.shape)

    def work(control: Control) -> Parts:
        found = held.session.embedding(asked.region, progress=control.progress, cancel=control.cancel)
        return embeddings_parts([found])

    return service.answer("embedding", request, work, held=held)


@router.post("/regions")
async def regions(session: str, request: Request) -> JobAnswer:
    """The vectors of the parts of the volume that a case store keeps."""
    service = service_of(request)
    held = await service.sessions.get(session)

    def work(control: Control) -> Parts:
        return regions_parts(held.session.regions(progress=control.progress, cancel=control.cancel))

    return service.answer("regions", request, work, held=held)


@router.post("/report", openapi_extra=json_body(ReportRequest))
async def report(session: str, request: Request) -> JobAnswer:
    """A draft report; its sentences are sent as they are written."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, ReportRequest, service.wire)
    if asked.store is not None:
        service.stores.check(asked.store)

    def earlier() -> SentenceStore | None:
        if asked.sentences is not None:
            return GivenSentences(given=asked.sentences)
        return None if asked.store is None else service.stores.get(asked.store)

    def work(control: Control) -> Parts:
        found = held.session.draft_report(
            store=earlier(),
            on_sentence=control.sentence,
            options=asked.options,
            progress=control.progress,
            cancel=control.cancel,
        )
        return to_plain(found), {}

    return service.answer("report", request, work, held=held)


@router.post("/check", openapi_extra=json_body(CheckRequest))
async def check(session: str, request: Request) -> JobAnswer:
    """The model's second opinion on sentences."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, CheckRequest, service.wire)

    def work(control: Control) -> Parts:
        found = held.session.check_sentences(asked.sentences, progress=control.progress, cancel=control.cancel)
        return to_plain(found), {}

    return service.answer("check", request, work, held=held)


@router.post("/similar", openapi_extra=frame_body())
async def similar(session: str, request: Request) -> JobAnswer:
    """The cases of a store that are most like the volume, or a part of it."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = similar_from(await read_frame(request, service.wire), shape=held.volume.shape)
    service.stores.check(asked.store)
    check_count(asked.k)

    def work(control: Control) -> Parts:
        found = held.session.similar(
            service.stores.get(asked.store),
            asked.k,
            region=asked.region,
            where=asked.where,
            progress=control.progress,
            cancel=control.cancel,
        )
        return matches_parts(service.stores.shown(found))

    return service.answer("similar", request, work, held=held)
