"""Edits of a session's labels: prompts, brush strokes, undo and redo, one after the other and never twice."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response

from colipri_core.editing.change import Change
from colipri_core.remote.protocol.editing import PromptRequest
from colipri_core.remote.protocol.editing import StepRequest
from colipri_core.remote.protocol.editing import answer_parts
from colipri_core.remote.protocol.editing import edit_from
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.server.bodies import read_frame
from colipri_core.remote.server.bodies import read_json
from colipri_core.remote.server.jobs import Control
from colipri_core.remote.server.schema import answers
from colipri_core.remote.server.schema import frame_body
from colipri_core.remote.server.schema import json_body
from colipri_core.remote.server.service import job_name
from colipri_core.remote.server.service import service_of
from colipri_core.remote.server.sessions import HeldSession
from colipri_core.remote.server.streaming import JobAnswer

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", default_response_class=Response, responses=answers(None))


@router.post("/prompt", openapi_extra=json_body(PromptRequest))
async def prompt(session: str, request: Request) -> JobAnswer:
    """Answer a point, scribble, box, lasso or phrase."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, PromptRequest, service.wire)

    def act(control: Control) -> Change:
        return held.session.prompt(
            asked.prompt, label=asked.label, policy=asked.policy, progress=control.progress, cancel=control.cancel
        )

    return _answer("prompt", request, held, act, after=asked.after)


@router.post("/edit", openapi_extra=frame_body())
async def edit(session: str, request: Request) -> JobAnswer:
    """Paint, erase, adopt a segmentation, or add, change, reset or remove an object."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = edit_from(await read_frame(request, service.wire), shape=held.volume.shape)
    return _answer("edit", request, held, lambda _: held.session.edit(asked.edit), after=asked.after)


@router.post("/undo", openapi_extra=json_body(StepRequest))
async def undo(session: str, request: Request) -> JobAnswer:
    """Take the last edit back."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, StepRequest, service.wire)
    return _answer("undo", request, held, lambda _: held.session.undo(), after=asked.after)


@router.post("/redo", openapi_extra=json_body(StepRequest))
async def redo(session: str, request: Request) -> JobAnswer:
    """Make the edit that was undone last once more."""
    service = service_of(request)
    held = await service.sessions.get(session)
    asked = await read_json(request, StepRequest, service.wire)
    return _answer("redo", request, held, lambda _: held.session.redo(), after=asked.after)


def _answer(
    kind: str, request: Request, held: HeldSession, act: Callable[[Control], Change], *, after: int
) -> JobAnswer:
    name = job_name(request)

    def work(control: Control) -> Parts:
        return answer_parts(held.make(lambda: act(control), after=after, job=name))

    return service_of(request).edit(kind, request, work, held=held, uses_model=kind == "prompt")
