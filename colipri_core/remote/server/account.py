"""The outermost layer: counts and logs every request, and turns what nobody caught into a plain answer.

A request is named by the template of its route, never by its path, which can hold the name of a case or a store.
"""

from __future__ import annotations

import logging
import time
import uuid

from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from colipri_core.remote.server.answers import error_answer
from colipri_core.remote.server.answers import protocol_headers
from colipri_core.remote.server.logs import note
from colipri_core.remote.server.metrics import Metrics

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}


class Account:
    """ASGI layer that keeps account of requests.

    Args:
        app: What it wraps.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = _Entry(scope, receive, send)
        try:
            await self._app(scope, entry.receive, entry.send)
        except Exception as error:  # the outermost boundary: nothing above can answer
            note("internal_error", level=logging.ERROR, error=error, request=entry.name)
            if not entry.status:
                await entry.fail(error)
        self._settle(scope, entry)

    def _settle(self, scope: Scope, entry: _Entry) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = str(getattr(scope.get("route"), "path", "unmatched"))
        seconds = time.monotonic() - entry.start
        self._metrics.request(method=method, route=route, status=entry.status, seconds=seconds)
        self._metrics.traffic(received=entry.received, sent=entry.sent)
        note(
            "request",
            level=logging.DEBUG if route in {"/healthz", "/readyz", "/metrics"} else logging.INFO,
            request=entry.name,
            method=method,
            route=route,
            status=entry.status,
            ms=round(seconds * 1000, 1),
            received=entry.received,
            sent=entry.sent,
        )


class _Entry:
    """One request: watches the bytes and the status go by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self.name = uuid.uuid4().hex[:12]
        self.start = time.monotonic()
        self.status = 0
        self.received = 0
        self.sent = 0
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.sent += len(message.get("body", b""))
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        answer = error_answer(error)
        answer.raw_headers += protocol_headers()
        answer.headers["Colipri-Request"] = self.name
        await answer(self._scope, self.receive, self.send)
