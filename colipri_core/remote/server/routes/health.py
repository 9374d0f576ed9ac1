"""Whether the server lives, whether it takes work, and its metrics; without the protocol's header."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST

from colipri_core.errors import ServerStoppingError
from colipri_core.remote.protocol.version import OLDEST_PROTOCOL
from colipri_core.remote.protocol.version import PROTOCOL_VERSION
from colipri_core.remote.server.schema import errors
from colipri_core.remote.server.service import service_of

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    """The process answers; tells which protocols it speaks."""
    return {
        "status": "ok",
        "protocol": PROTOCOL_VERSION,
        "oldest_protocol": OLDEST_PROTOCOL,
        "version": version("napari-colipri"),
    }


@router.get("/readyz", responses=errors())
async def readyz(request: Request) -> dict[str, Any]:
    """The model is loaded and warm, and the server is not stopping."""
    if not service_of(request).ready:
        msg = "The server is starting or stopping. Ask again in a moment."
        raise ServerStoppingError(msg)
    return {"status": "ready"}


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """What Prometheus reads."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
