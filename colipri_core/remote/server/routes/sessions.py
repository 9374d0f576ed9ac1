"""Sessions: opening, keeping and ending them, and what they hold."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response

from colipri_core.errors import TooLargeError
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import segmentation_parts
from colipri_core.remote.protocol.sessions import Opening
from colipri_core.remote.protocol.sessions import OpeningReceiver
from colipri_core.remote.protocol.sessions import SessionAnswer
from colipri_core.remote.protocol.streams import FrameReader
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.server.answers import json_answer
from colipri_core.remote.server.bodies import pieces
from colipri_core.remote.server.jobs import Control
from colipri_core.remote.server.schema import answers
from colipri_core.remote.server.schema import errors
from colipri_core.remote.server.schema import frame_body
from colipri_core.remote.server.service import Service
from colipri_core.remote.server.service import service_of
from colipri_core.remote.server.sessions import HeldSession
from colipri_core.remote.server.streaming import JobAnswer

router = APIRouter(prefix=f"{PREFIX}/sessions")


@router.post("", response_class=Response, responses=answers(SessionAnswer), openapi_extra=frame_body())
async def open_session(request: Request) -> Response:
    """Open a volume that is here, with the history of edits the client has, if any."""
    service = service_of(request)
    service.check_running()
    opening = await _opening(request, service)
    return await _standing(await service.sessions.open(opening))


@router.get("/{session}", response_class=Response, responses=answers(SessionAnswer))
async def state(session: str, request: Request) -> Response:
    """How a session stands; one that is closed but kept is opened again."""
    return await _standing(await service_of(request).sessions.get(session))


@router.post("/{session}/heartbeat", response_class=Response, responses=answers(SessionAnswer))
async def heartbeat(session: str, request: Request) -> Response:
    """Renew the lease of a session."""
    return await _standing(await service_of(request).sessions.get(session))


@router.delete("/{session}", status_code=204, response_class=Response, responses=errors())
async def end(session: str, request: Request) -> Response:
    """Close a session for good: its jobs are cancelled, and what was kept of it is deleted."""
    service = service_of(request)
    service.jobs.cancel_all_of(session)
    await service.sessions.end(session)
    return Response(status_code=204)


@router.get("/{session}/segmentation", response_class=Response, responses=answers(None))
async def segmentation(session: str, request: Request) -> JobAnswer:
    """The labels that are being edited."""
    service = service_of(request)
    held = await service.sessions.get(session)

    def work(_: Control) -> Parts:
        body, arrays = segmentation_parts(held.session.segmentation)
        return body, arrays

    return service.edit("segmentation", request, work, held=held, uses_model=False)


@router.get("/{session}/log", response_class=Response, responses=answers(None))
async def log(session: str, request: Request) -> JobAnswer:
    """What led to the labels, as JSON that replays without a model."""
    service = service_of(request)
    held = await service.sessions.get(session)

    def work(_: Control) -> Parts:
        return held.session.edit_log(), {}

    return service.edit("log", request, work, held=held, uses_model=False)


async def _standing(held: HeldSession) -> Response:
    answer = await asyncio.to_thread(held.answer)
    return json_answer(to_plain(answer))


async def _opening(request: Request, service: Service) -> Opening:
    """Read what opens a session; the volume must be here before its history can be read."""
    reader, receiver = FrameReader(service.wire), OpeningReceiver(service.wire)
    shape, size = None, 0
    async for piece in pieces(request):
        size += len(piece)
        if size > service.wire.frame_bytes:
            msg = f"Expected a history of at most {service.wire.frame_bytes} bytes, found more. Open without it."
            raise TooLargeError(msg)
        for frame in reader.feed(piece):
            await asyncio.to_thread(receiver.take, frame, shape=shape)
            if shape is None and receiver.request is not None:
                shape = (await service.volumes.get(receiver.request.volume)).shape
    reader.finish()
    return receiver.finish()
