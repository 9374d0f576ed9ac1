"""Searches by vector in the case stores of the server."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response

from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import SentencesAnswer
from colipri_core.remote.protocol.questions import search_from
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import matches_parts
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.server.bodies import read_frame
from colipri_core.remote.server.jobs import Control
from colipri_core.remote.server.schema import answers
from colipri_core.remote.server.schema import frame_body
from colipri_core.remote.server.service import service_of
from colipri_core.remote.server.stores import check_count
from colipri_core.remote.server.streaming import JobAnswer

router = APIRouter(prefix=f"{PREFIX}/stores")

_VECTOR_BYTES = 1 << 20
"""Largest vector that is read; embeddings have some thousand numbers at most."""


@router.post("/{name}/search", response_class=Response, responses=answers(None), openapi_extra=frame_body())
async def search(name: str, request: Request) -> JobAnswer:
    """The cases, or sentences of reports, that are nearest to a vector."""
    service = service_of(request)
    service.stores.check(name)
    limits = dataclasses.replace(service.wire, array_bytes=_VECTOR_BYTES)
    asked = search_from(await read_frame(request, limits))
    check_count(asked.k)

    def work(_: Control) -> Parts:
        store = service.stores.get(name)
        if asked.sentences:
            return to_plain(SentencesAnswer(sentences=tuple(store.sentences(asked.query, asked.k)))), {}
        found = store.search(asked.query, asked.k, where=asked.where, by_region=asked.by_region)
        return matches_parts(service.stores.shown(found))

    return service.answer("search", request, work, uses_model=False)
