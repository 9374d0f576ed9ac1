"""The layer before the routes: who may ask, in which protocol, and how much may be sent.

Without a token the server listens on a loopback address only, and answers only to that name: a page of the web that
had its own name resolved to this machine is refused (DNS rebinding). Answers carry no CORS headers, so a page of
another origin cannot read them.
"""

from __future__ import annotations

import hmac
import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from colipri_core.errors import ColipriError
from colipri_core.errors import ProtocolMismatchError
from colipri_core.errors import ServerTokenError
from colipri_core.errors import TooLargeError
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.protocol.version import PROTOCOL_HEADER
from colipri_core.remote.protocol.version import PROTOCOL_VERSION
from colipri_core.remote.protocol.version import SERVER_HEADER
from colipri_core.remote.server.answers import error_answer
from colipri_core.remote.server.answers import protocol_headers
from colipri_core.remote.server.settings import TOKEN_VARIABLE
from colipri_core.remote.server.settings import ServerSettings
from colipri_core.remote.server.settings import is_loopback

_OPEN = {"/healthz", "/readyz"}
"""Paths that answer without a token."""


class Guard:
    """ASGI layer that refuses requests before they reach a route.

    Args:
        app: What it wraps.
        settings: Token and address.
        open_paths: Paths besides those of health that answer without a token, such as a page that holds no data.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, open_paths: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._token = settings.token.encode()
        self._loopback_only = not settings.token
        self._limit = settings.limits.body_bytes
        self._open = _OPEN | open_paths
        self._name = (SERVER_HEADER.lower().encode(), uuid.uuid4().hex.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *protocol_headers(), self._name]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await error_answer(refusal)(scope, receive, send_marked)
        else:
            await self._app(scope, receive, send_marked)

    def _refusal(self, scope: Scope) -> ColipriError | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._loopback_only and not is_loopback(_host_name(headers.get("host", ""))):
            msg = "Expected a request to localhost, found another name. Set a token on the server to use other names."
            return ServerTokenError(msg)
        if self._token and path not in self._open and not self._knows(headers.get("authorization", "")):
            msg = f"Expected the server's token, found none or another one. Set {TOKEN_VARIABLE} to it."
            return ServerTokenError(msg)
        if path.startswith(f"{PREFIX}/"):
            return self._protocol_refusal(headers, is_upload=scope["method"] == "PUT")
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)

    def _protocol_refusal(self, headers: Headers, *, is_upload: bool) -> ColipriError | None:
        version = headers.get(PROTOCOL_HEADER)
        if version != str(PROTOCOL_VERSION):
            msg = (
                f"Expected protocol {PROTOCOL_VERSION} in the header {PROTOCOL_HEADER}, "
                f"found {(version or 'none')[:20]}. Install the same version of napari-colipri at both ends."
            )
            return ProtocolMismatchError(msg)
        length = headers.get("content-length", "0")
        if not is_upload and length.isdecimal() and int(length) > self._limit:
            return TooLargeError(f"Expected a body of at most {self._limit} bytes, found {int(length)}. Send less.")
        return None


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
