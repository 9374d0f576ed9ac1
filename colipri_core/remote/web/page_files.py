"""The files of the page, with the headers that keep everything but this server out of it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from importlib.resources import files

from fastapi import APIRouter
from fastapi import Request
from fastapi import Response
from fastapi.responses import RedirectResponse

PAGE = "/web/"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",  # NiiVue keeps the letters it draws with as data
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_LIBRARY = "niivue.js"


def page_files(library: bytes) -> dict[str, bytes]:
    """Return the page's files by name.

    Args:
        library: The viewer library, an ES module.
    """
    folder = files("colipri_core.remote.web") / "page"
    own = {item.name: item.read_bytes() for item in folder.iterdir() if item.name.endswith(tuple(_TYPES))}
    return {**own, _LIBRARY: library}


def page_router(content: Mapping[str, bytes]) -> APIRouter:
    """Serve files under /web/.

    Args:
        content: File name -> bytes; "index.html" is the page.
    """
    router = APIRouter(include_in_schema=False)
    packed = {name: gzip.compress(data, compresslevel=6) for name, data in content.items()}

    @router.get("/")
    async def entrance() -> Response:
        return RedirectResponse(PAGE, status_code=307, headers=_HEADERS)

    def serve(path: str, name: str) -> None:
        async def file(request: Request) -> Response:
            takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
            encoding = {"Content-Encoding": "gzip"} if takes_gzip else {}
            body = packed[name] if takes_gzip else content[name]
            media_type = f"{_TYPES[name[name.rindex('.') :]]}; charset=utf-8"
            return Response(body, headers={**_HEADERS, **encoding, "Vary": "Accept-Encoding"}, media_type=media_type)

        router.add_api_route(path, file, methods=["GET"])

    for name in content:
        serve(f"{PAGE}{name}", name)
    serve(PAGE, "index.html")
    return router


def open_paths(content: Mapping[str, bytes]) -> frozenset[str]:
    """Return the paths that answer without a token: the page's files, which hold no data.

    Args:
        content: As given to `page_router`.
    """
    return frozenset({"/", PAGE, *(f"{PAGE}{name}" for name in content)})
