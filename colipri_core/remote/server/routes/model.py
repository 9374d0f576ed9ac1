"""Which model is served and what it can do."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter
from fastapi import Request

router = APIRouter(prefix="/v1")


@router.get("/model")
async def model(request: Request) -> dict[str, Any]:
    """Card, capabilities, device, limits and names of case stores."""
    service = request.app.state.service
    engine = service.engine
    return {
        "card": dataclasses.asdict(engine.card),
        "capabilities": dataclasses.asdict(engine.capabilities),
        "device": engine.device,
        "limits": dataclasses.asdict(service.settings.limits),
        "stores": sorted(service.settings.stores),
    }
