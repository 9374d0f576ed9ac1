"""Reading the bodies of requests: bounded in size and time, then checked by the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from colipri_core.errors import ProtocolError
from colipri_core.errors import TooLargeError
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import decode_frame
from colipri_core.remote.protocol.frames import decode_json
from colipri_core.remote.protocol.limits import Limits
from colipri_core.remote.protocol.plain import from_plain

T = TypeVar("T")

_STALL_S = 60.0
"""Seconds without a byte after which a request is given up (our choice)."""


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """Give the body of a request piece by piece.

    Raises:
        ProtocolError: If nothing comes for a minute, or the client hangs up.
    """
    stream = request.stream()
    try:
        while True:
            piece = await asyncio.wait_for(anext(stream), _STALL_S)
            if piece:
                yield piece
    except StopAsyncIteration:
        return
    except (ClientDisconnect, TimeoutError) as error:
        msg = "Expected the rest of the body, but it did not come. Send the request again."
        raise ProtocolError(msg) from error


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return the whole body of a request.

    Args:
        request: The request.
        limit: Most bytes it may have.

    Raises:
        TooLargeError: If it is longer; no more than the limit is held.
    """
    content = bytearray()
    async for piece in pieces(request):
        content += piece
        if len(content) > limit:
            msg = f"Expected a body of at most {limit} bytes, found more. Send less."
            raise TooLargeError(msg)
    return bytes(content)


async def read_json(request: Request, kind: type[T], limits: Limits) -> T:
    """Return the JSON body of a request as a dataclass.

    Raises:
        ProtocolError: If it is something else.
    """
    content = await read_body(request, limit=limits.header_bytes)
    return from_plain(kind, decode_json(content or b"{}", limits))


async def read_frame(request: Request, limits: Limits) -> Frame:
    """Return the frame that is the body of a request.

    Raises:
        ProtocolError: If it is something else.
        TooLargeError: If it is too long.
    """
    frame = decode_frame(await read_body(request, limit=limits.frame_bytes), limits)
    if frame.kind is not Kind.REQUEST:
        msg = f"Expected a frame {Kind.REQUEST.name}, found {frame.kind.name}."
        raise ProtocolError(msg)
    return frame
