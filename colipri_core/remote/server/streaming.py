"""The answer of a job: its frames as they come; a client that hangs up cancels it."""

from __future__ import annotations

import asyncio

from fastapi import Response
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from colipri_core.remote.protocol.version import FRAME_TYPE
from colipri_core.remote.protocol.version import JOB_HEADER
from colipri_core.remote.server.jobs import Job

_SEND_S = 60.0
"""Seconds a client may take to receive one piece before it counts as gone (our choice)."""
_PIECE_BYTES = 1 << 20


class JobAnswer(Response):
    """Streams the frames of a job.

    Args:
        job: The job, begun.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(media_type=FRAME_TYPE, headers={JOB_HEADER: job.name})
        del self.headers["content-length"]
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send frames until the outcome, or until nobody listens."""
        listening = asyncio.create_task(_hang_up(receive))
        sending = asyncio.create_task(self._send(send))
        try:
            await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except (OSError, TimeoutError):
            return
        finally:
            self._job.cancel.cancel()
            listening.cancel()
            sending.cancel()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for content in self._job.messages():
            for start in range(0, len(content), _PIECE_BYTES):
                piece = content[start : start + _PIECE_BYTES]
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                await asyncio.wait_for(send(message), _SEND_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _hang_up(receive: Receive) -> None:
    """Return once the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
