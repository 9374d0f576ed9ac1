"""What a browser needs besides /v1: cases to choose from, and results as NIfTI, which it can draw.

Sessions, jobs, limits and errors are the server's own; classification, prompts, undo, heartbeats and Cancel go straight
to /v1. Every request carries the header of the protocol: a page of another origin cannot send it without being asked
for leave first, which this server never gives.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated

import numpy as np
from fastapi import APIRouter
from fastapi import Depends
from fastapi import Query
from fastapi import Request
from fastapi import Response

from colipri_core.errors import ProtocolMismatchError
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.version import PROTOCOL_HEADER
from colipri_core.remote.protocol.version import PROTOCOL_VERSION
from colipri_core.remote.server.answers import json_answer
from colipri_core.remote.server.bodies import read_json
from colipri_core.remote.server.jobs import Control
from colipri_core.remote.server.service import Service
from colipri_core.remote.server.service import service_of
from colipri_core.remote.server.sessions import HeldSession
from colipri_core.remote.web.display import DEFAULT_BUDGET
from colipri_core.remote.web.display import DisplayGrid
from colipri_core.remote.web.display import HeatLimits
from colipri_core.remote.web.display import ct_nifti
from colipri_core.remote.web.display import heat_nifti
from colipri_core.remote.web.display import labels_nifti
from colipri_core.remote.web.drawings import WebState
from colipri_core.remote.web.opening import case_document
from colipri_core.remote.web.opening import open_volume
from colipri_core.remote.web.opening import read_place
from colipri_core.remote.web.opening import read_upload
from colipri_core.remote.web.opening import upload_bytes
from colipri_core.remote.web.words import report_rows
from colipri_core.remote.web.words import segment_rows

Voxels = Annotated[int, Query(ge=100_000, le=2**31, description="Voxels that the page can show at most.")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenCase:
    """Body of `POST /web/api/cases`: one of the names that `GET /web/api/about` lists."""

    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskEvidence:
    """Body of `POST .../evidence`: a finding or phrase, and how many voxels the page can show."""

    text: str
    voxels: int = DEFAULT_BUDGET


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskStructures:
    """Body of `POST .../segment`: how many voxels the page can show."""

    voxels: int = DEFAULT_BUDGET


async def check_protocol(request: Request) -> None:
    """Refuse what does not carry the protocol's header, such as a form on another site.

    Raises:
        ProtocolMismatchError: If it is missing or another one.
    """
    found = request.headers.get(PROTOCOL_HEADER)
    if found != str(PROTOCOL_VERSION):
        msg = f"Expected protocol {PROTOCOL_VERSION}, found {(found or 'none')[:20]}. Load the page again."
        raise ProtocolMismatchError(msg)


router = APIRouter(prefix="/web/api", dependencies=[Depends(check_protocol)], include_in_schema=False)


@router.get("/about")
async def about(request: Request) -> Response:
    """The model, what it can do, the cases to choose from, and how large a file may be."""
    service, web = service_of(request), _web(request)
    capabilities = service.engine.capabilities
    document = {
        "model": service.engine.card.to_json(),
        "device": service.engine.device,
        "capabilities": {"free_text": capabilities.free_text, "structures": len(capabilities.structures)},
        "cases": await asyncio.to_thread(web.cases.names),
        "upload_bytes": upload_bytes(service.settings.limits),
    }
    return json_answer(document)


@router.post("/cases")
async def open_case(request: Request) -> Response:
    """Read a case that lies on this host and open a session on it."""
    service = service_of(request)
    service.check_running()
    asked = await read_json(request, OpenCase, service.wire)
    place = await asyncio.to_thread(_web(request).cases.place, asked.name)
    return await _opened(service, await open_volume(service, await read_place(place)))


@router.post("/uploads")
async def open_upload(request: Request) -> Response:
    """Read the NIfTI file that is sent and open a session on it."""
    service = service_of(request)
    service.check_running()
    volume = await read_upload(request, folder=_web(request).uploads, limits=service.settings.limits)
    return await _opened(service, await open_volume(service, volume))


@router.get("/sessions/{session}")
async def case(session: str, request: Request) -> Response:
    """An open case, or one that was open before the server was started again."""
    held = await service_of(request).sessions.get(session)
    return json_answer(await asyncio.to_thread(case_document, held))


@router.get("/sessions/{session}/volume")
async def volume(session: str, request: Request, voxels: Voxels = DEFAULT_BUDGET) -> Response:
    """The CT, reduced to what the page can show."""
    held = await service_of(request).sessions.get(session)
    grid = DisplayGrid.within(held.volume.geometry, voxels)
    content = await asyncio.to_thread(ct_nifti, held.volume.voxels, grid)
    return _nifti(content)


@router.get("/sessions/{session}/labels")
async def labels(session: str, request: Request, voxels: Voxels = DEFAULT_BUDGET) -> Response:
    """The labels that are being edited."""
    held = await service_of(request).sessions.get(session)
    grid = DisplayGrid.within(held.volume.geometry, voxels)
    return _nifti(await asyncio.to_thread(lambda: labels_nifti(held.session.segmentation.labelmap, grid)))


@router.get("/sessions/{session}/drawings/{name}")
async def drawing(session: str, name: str, request: Request) -> Response:
    """An image that a job made."""
    held = await service_of(request).sessions.get(session)
    return _nifti(_web(request).drawings.get(held, name))


@router.get("/sessions/{session}/intensity")
async def intensity(session: str, request: Request, r: float, a: float, s: float) -> Response:
    """The voxel at a place in RAS+ mm; null outside the volume."""
    held = await service_of(request).sessions.get(session)
    geometry, value = held.volume.geometry, None
    if np.isfinite([r, a, s]).all() and geometry.contains((r, a, s)):
        index = np.clip(np.rint(geometry.world_to_index((r, a, s))), 0, np.asarray(geometry.shape) - 1)
        value = float(held.volume.voxels[tuple(index.astype(int))])
    return json_answer({"value": value})


@router.post("/sessions/{session}/evidence")
async def evidence(session: str, request: Request) -> Response:
    """Where the model sees a phrase; the result names the drawing of its map."""
    service, web = service_of(request), _web(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, AskEvidence, service.wire)
    grid = DisplayGrid.within(held.volume.geometry, asked.voxels)

    def work(control: Control) -> Parts:
        found = held.session.evidence(asked.text, progress=control.progress, cancel=control.cancel)
        limits = HeatLimits.of(found.values, found.peak_value)
        name = web.drawings.keep(held, heat_nifti(found.values, grid, limits))
        return {**found.to_json(), "low": limits.low, "high": limits.high, "drawing": name}, {}

    return service.answer("evidence", request, work, held=held)


@router.post("/sessions/{session}/segment")
async def segment(session: str, request: Request) -> Response:
    """The structures the model knows; the result names the drawing of their labelmap."""
    service, web = service_of(request), _web(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, AskStructures, service.wire)
    grid = DisplayGrid.within(held.volume.geometry, asked.voxels)

    def work(control: Control) -> Parts:
        found = held.session.segment(progress=control.progress, cancel=control.cancel)
        name = web.drawings.keep(held, labels_nifti(found.labelmap, grid))
        return {"segments": segment_rows(found), "drawing": name}, {}

    return service.answer("segment", request, work, held=held)


@router.post("/sessions/{session}/report")
async def report(session: str, request: Request) -> Response:
    """A draft report: its sentences as they are written, then all of it in rows."""
    service = service_of(request)
    held = await service.sessions.get(session)

    def work(control: Control) -> Parts:
        draft = held.session.draft_report(
            on_sentence=control.sentence, progress=control.progress, cancel=control.cancel
        )
        return report_rows(draft), {}

    return service.answer("report", request, work, held=held)


def _web(request: Request) -> WebState:
    state = request.app.state.web
    assert isinstance(state, WebState)
    return state


async def _opened(service: Service, held: HeldSession) -> Response:
    return json_answer(await asyncio.to_thread(case_document, held))


def _nifti(content: bytes) -> Response:
    """An image that the browser unpacks by itself."""
    encoding = {"Content-Encoding": "gzip"}
    return Response(content, headers=encoding, media_type="application/octet-stream")
