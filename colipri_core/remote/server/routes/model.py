"""Which model is served, what it can do, and texts in its space."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response

from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import TextsRequest
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import embeddings_parts
from colipri_core.remote.protocol.sessions import ModelAnswer
from colipri_core.remote.protocol.sessions import ServerLimits
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.server.answers import json_answer
from colipri_core.remote.server.bodies import read_json
from colipri_core.remote.server.jobs import Control
from colipri_core.remote.server.schema import answers
from colipri_core.remote.server.schema import json_body
from colipri_core.remote.server.service import service_of
from colipri_core.remote.server.streaming import JobAnswer

router = APIRouter(prefix=PREFIX)


@router.get("/model", response_class=Response, responses=answers(ModelAnswer))
async def model(request: Request) -> Response:
    """Card, capabilities, device, limits and names of case stores."""
    service = service_of(request)
    limits, engine = service.settings.limits, service.engine
    answer = ModelAnswer(
        card=engine.card,
        capabilities=engine.capabilities,
        device=engine.device,
        limits=ServerLimits(voxels=limits.volume_voxels, body_bytes=limits.body_bytes, sessions=limits.sessions),
        stores=service.stores.names,
        version=version("napari-colipri"),
        versions=engine.versions,
    )
    return json_answer(to_plain(answer))


@router.post("/texts", response_class=Response, responses=answers(None), openapi_extra=json_body(TextsRequest))
async def texts(request: Request) -> JobAnswer:
    """Embeddings of texts."""
    service = service_of(request)
    asked = await read_json(request, TextsRequest, service.wire)

    def work(control: Control) -> Parts:
        found = service.engine.embed_texts(
            asked.texts, contrast=asked.contrast, progress=control.progress, cancel=control.cancel
        )
        return embeddings_parts(found)

    return service.answer("texts", request, work)
