"""Volumes: sent once, or opened by path below the allowed folder."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter
from fastapi import Query
from fastapi import Request
from fastapi import Response

from colipri_core.errors import VolumeUnknownError
from colipri_core.io import read_volume
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import OpenPathAnswer
from colipri_core.remote.protocol.questions import OpenPathRequest
from colipri_core.remote.protocol.questions import result_frame
from colipri_core.remote.protocol.version import FRAME_TYPE
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.protocol.volumes import VolumeHeader
from colipri_core.remote.server.answers import json_answer
from colipri_core.remote.server.answers import without_paths
from colipri_core.remote.server.bodies import pieces
from colipri_core.remote.server.bodies import read_json
from colipri_core.remote.server.paths import resolve
from colipri_core.remote.server.schema import answers
from colipri_core.remote.server.schema import errors
from colipri_core.remote.server.schema import frame_body
from colipri_core.remote.server.schema import json_body
from colipri_core.remote.server.service import service_of

router = APIRouter(prefix=f"{PREFIX}/volumes")


@router.head("/{digest}", response_class=Response, responses=errors())
async def known(digest: str, request: Request) -> Response:
    """Whether the volume is here."""
    if not service_of(request).volumes.known(digest):
        raise _unknown()
    return Response()


@router.get("/{digest}", response_class=Response, responses=answers(VolumeHeader))
async def header(digest: str, request: Request) -> Response:
    """Shape, type and place of the volume."""
    volume = await service_of(request).volumes.get(digest)
    return json_answer(to_plain(VolumeHeader.of(volume)))


@router.get("/{digest}/voxels", response_class=Response, responses=answers(None))
async def voxels(digest: str, request: Request, level: Annotated[int, Query(ge=0, le=6)] = 0) -> Response:
    """The voxels, every 2^level-th along each axis."""
    volume = await service_of(request).volumes.get(digest)
    step = 2**level
    content = await asyncio.to_thread(result_frame, {}, {"voxels": volume.voxels[::step, ::step, ::step]})
    return Response(content, media_type=FRAME_TYPE)


@router.put("/{digest}", response_class=Response, responses=answers(VolumeHeader), openapi_extra=frame_body())
async def receive(digest: str, request: Request) -> Response:
    """Take the volume in: a frame with its header, then slabs; it is used once its digest is found right."""
    service = service_of(request)
    return json_answer(to_plain(await service.volumes.receive(digest, pieces(request))))


@router.post(
    "/open", response_class=Response, responses=answers(OpenPathAnswer), openapi_extra=json_body(OpenPathRequest)
)
async def open_path(request: Request) -> Response:
    """Read a volume that lies below the allowed folder of the server."""
    service = service_of(request)
    asked = await read_json(request, OpenPathRequest, service.wire)
    path = await asyncio.to_thread(resolve, service.settings.root, asked.path)
    volume = await asyncio.to_thread(read_volume, path)
    digest = await service.volumes.add(volume)
    warnings = tuple(without_paths(text) for text in volume.metadata.get("warnings", ()))
    answer = OpenPathAnswer(volume=digest, unit=volume.unit, header=VolumeHeader.of(volume), warnings=warnings)
    return json_answer(to_plain(answer))


def _unknown() -> VolumeUnknownError:
    return VolumeUnknownError("Expected the digest of a volume that is here, found none of it. Send the volume first.")
