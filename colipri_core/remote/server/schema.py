"""The OpenAPI schema: JSON bodies as the protocol's dataclasses have them, frames as binary content.

The protocol is stricter than a schema can say of frames; docs/reference/wire-protocol.md describes these.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from colipri_core.prompts import Box
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Scribble
from colipri_core.remote.protocol.editing import PromptRequest
from colipri_core.remote.protocol.editing import StepRequest
from colipri_core.remote.protocol.questions import CheckRequest
from colipri_core.remote.protocol.questions import ClassifyRequest
from colipri_core.remote.protocol.questions import EvidenceRequest
from colipri_core.remote.protocol.questions import OpenPathAnswer
from colipri_core.remote.protocol.questions import OpenPathRequest
from colipri_core.remote.protocol.questions import ReportRequest
from colipri_core.remote.protocol.questions import SegmentRequest
from colipri_core.remote.protocol.questions import TextsRequest
from colipri_core.remote.protocol.sessions import ModelAnswer
from colipri_core.remote.protocol.sessions import SessionAnswer
from colipri_core.remote.protocol.version import FRAME_TYPE
from colipri_core.remote.protocol.version import JOB_HEADER
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.protocol.version import PROTOCOL_HEADER
from colipri_core.remote.protocol.version import PROTOCOL_VERSION
from colipri_core.remote.protocol.volumes import VolumeHeader

_REQUESTS = (CheckRequest, ClassifyRequest, EvidenceRequest, OpenPathRequest, PromptRequest, ReportRequest)
_REQUESTS += (SegmentRequest, StepRequest, TextsRequest)  # type: ignore[assignment]
_ANSWERS = (ModelAnswer, OpenPathAnswer, SessionAnswer, VolumeHeader)
_PROMPTS = (Box, Lasso, Phrase, Point, Scribble)
_REFERENCE = "#/components/schemas/{model}"
_BINARY = {FRAME_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_JOB = {
    "name": JOB_HEADER,
    "in": "header",
    "required": False,
    "description": "Names the call, so that it can be cancelled and repeated: a UUID.",
    "schema": {"type": "string", "format": "uuid"},
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {"type": "object"}},
        }
    },
}


def json_body(kind: type[Any]) -> dict[str, Any]:
    """Describe a JSON body, as `openapi_extra` of a route."""
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=kind.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def frame_body() -> dict[str, Any]:
    """Describe a body of frames, as `openapi_extra` of a route."""
    return {"requestBody": {"required": True, "content": _BINARY}}


def answers(kind: type[Any] | None) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route, as its `responses`.

    Args:
        kind: The dataclass of a JSON answer; None for frames.
    """
    content: dict[str, Any] = _BINARY
    if kind is not None:
        content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=kind.__name__)}}}
    return {200: {"description": "Done.", "content": content}, **errors()}


def errors() -> dict[int | str, dict[str, Any]]:
    """Describe the answers that are no success."""
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}}
    descriptions = {"4XX": "Refused.", "500": "A fault of the server.", "503": "Busy.", "507": "The disk is full."}
    return {status: {"description": text, "content": content} for status, text in descriptions.items()}


def describe(app: FastAPI) -> None:
    """Let an application give this schema at /openapi.json."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=str(PROTOCOL_VERSION), routes=app.routes)
    components = document.setdefault("components", {})
    components["schemas"] = {"Error": _ERROR, **_data_types()}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"token": []}]
    header = {
        "name": PROTOCOL_HEADER,
        "in": "header",
        "required": True,
        "schema": {"type": "string", "const": str(PROTOCOL_VERSION)},
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            operation["responses"].pop("422", None)
            if path.startswith(f"{PREFIX}/"):
                operation.setdefault("parameters", []).append(header)
                if method == "post" and FRAME_TYPE in operation["responses"].get("200", {}).get("content", {}):
                    operation["parameters"].append(_JOB)
    return document


def _data_types() -> dict[str, Any]:
    inputs = [(kind, "validation", TypeAdapter(kind)) for kind in _REQUESTS]
    outputs = [(kind, "serialization", TypeAdapter(kind)) for kind in _ANSWERS]
    _, document = TypeAdapter.json_schemas([*inputs, *outputs], ref_template=_REFERENCE)  # type: ignore[list-item]
    found: dict[str, Any] = document["$defs"]
    for name, schema in found.items():
        if "properties" in schema:
            schema["additionalProperties"] = False
        kind = next((kind for kind in _PROMPTS if name.partition("-")[0] == kind.__name__), None)
        if kind is not None:  # a prompt says which it is
            schema["properties"]["kind"] = {"const": kind.kind}
            schema["required"] = [*schema.get("required", ()), "kind"]
    return found
