"""Ending a job by its name."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response

from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.server.schema import errors
from colipri_core.remote.server.service import service_of

router = APIRouter(prefix=PREFIX)


@router.delete("/jobs/{job}", status_code=204, response_class=Response, responses=errors())
async def cancel(job: str, request: Request) -> Response:
    """Cancel a job that waits or runs; its stream ends with the error "cancelled"."""
    service_of(request).jobs.cancel(job)
    return Response(status_code=204)
