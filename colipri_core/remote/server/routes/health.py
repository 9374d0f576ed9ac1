"""Whether the server lives, and whether it takes work; open to all, so that a balancer can ask."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    """The process answers; tells which protocols it speaks."""
    return {"status": "ok", "protocol": 1, "oldest_protocol": 1, "version": version("napari-colipri")}
