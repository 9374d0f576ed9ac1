"""Every answer that is no success: JSON with a code, without paths of this host, and never a traceback."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi import Request
from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from colipri_core import errors
from colipri_core.remote.protocol.errors import STATUS
from colipri_core.remote.protocol.errors import error_body
from colipri_core.remote.protocol.version import PROTOCOL_HEADER
from colipri_core.remote.protocol.version import PROTOCOL_VERSION

_HOST_PATH = re.compile(r"(?<![\w:/.<])(?:[A-Za-z]:)?[\\/](?:[^\\/\s\"'<>|:*?]+[\\/])*([^\\/\s\"'<>|:*?]*)")
_WAIT_S = 2
"""What a refused client is told to wait at least before it asks again (our choice)."""


def error_document(error: BaseException) -> dict[str, Any]:
    """Return the JSON of an error as a client may see it.

    Args:
        error: Any error; what is not the package's own says nothing of itself.
    """
    document = error_body(error)
    document["error"]["message"] = without_paths(document["error"]["message"])
    return document


def error_answer(error: BaseException) -> Response:
    """Return the answer for an error."""
    document = error_document(error)
    status = STATUS.get(document["error"]["code"], 422)
    headers = {"Retry-After": str(_WAIT_S)} if status == 503 else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_answer(document, status=status, headers=headers)


def json_answer(document: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON values as an answer."""
    content = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def without_paths(text: str) -> str:
    """Cut absolute paths in a message down to their last names: what lies where on this host is no one's business.

    Args:
        text: A message for a client.
    """
    return _HOST_PATH.sub(r"\1", text)


def answer_errors(app: FastAPI) -> None:
    """Let an application answer errors so; what is unexpected is left to the outermost layer."""
    for kind in (errors.ColipriError, ValueError, TypeError):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_parameters)


def protocol_headers() -> list[tuple[bytes, bytes]]:
    """Headers of every answer."""
    return [
        (PROTOCOL_HEADER.lower().encode(), str(PROTOCOL_VERSION).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]


async def _answer(_: Request, error: Exception) -> Response:
    return error_answer(error)


async def _answer_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    names = ", ".join(str(found["loc"][-1])[:40] for found in error.errors())
    return error_answer(ValueError(f"Expected other values of the parameters {names}. See the schema."))


async def _answer_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = error_answer(errors.NotFoundError("Expected a route of this server, found none. Its schema lists them."))
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer
