"""One long call: its frames as they come, cancelled from any thread, ended whatever happens to the server.

A guard watches while the answer is read. When the call is cancelled, one that changes nothing is simply hung up on,
which ends it at the server too. One that edits is asked to stop by its name and read to its end, for it may have been
made already; if its end does not come in time, it is hung up on as well, and the session looks later what became of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any
from typing import Self

import httpx2

from colipri_core.errors import ColipriError
from colipri_core.errors import ProtocolError
from colipri_core.errors import ServerUnreachableError
from colipri_core.errors import SessionClosedError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.remote.client.transport import CLOSED
from colipri_core.remote.client.transport import Body
from colipri_core.remote.client.transport import Transport
from colipri_core.remote.protocol.errors import error_from_body
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.questions import ProgressMessage
from colipri_core.remote.protocol.streams import FrameReader
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.report import ReportSentence
from colipri_core.report import SentenceCallback

_POLL_S = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """Who is told of a call, and who may end it.

    Args:
        progress: Receives (fraction, message).
        cancel: Cancels the call.
        closed: Set once the engine is closed.
        on_sentence: Receives each sentence of a report.
        edits: Whether the call changes labels.
        job: Its name.
    """

    progress: ProgressCallback | None = None
    cancel: CancelToken = dataclasses.field(default_factory=CancelToken)
    closed: CancelToken = dataclasses.field(default_factory=CancelToken)
    on_sentence: SentenceCallback | None = None
    edits: bool = False
    job: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))

    def check(self) -> None:
        """Raise if the call is to end.

        Raises:
            Cancelled: If `cancel` was set.
            SessionClosedError: If the engine was closed.
        """
        if self.closed.cancelled:
            raise SessionClosedError(CLOSED)
        self.cancel.check()

    def report(self, fraction: float, message: str) -> None:
        """Pass progress on, unless the call is to end.

        Raises:
            Cancelled: If `cancel` was set and the call changes nothing.
            SessionClosedError: If the engine was closed.
        """
        if self.edits and self.cancel.cancelled:
            return  # its end is waited for: it may have been made
        self.check()
        if self.progress is not None:
            self.progress(fraction, message)


def rising(progress: ProgressCallback) -> ProgressCallback:
    """Return a callback whose fractions never fall, though a call may begin again over a new connection.

    Args:
        progress: Receives (fraction, message).
    """
    highest = 0.0

    def report(fraction: float, message: str) -> None:
        nonlocal highest
        highest = max(highest, fraction)
        progress(highest, message)

    return report


def long_call(transport: Transport, path: str, body: Body, control: Control) -> Frame:
    """Make a call and return its result.

    Args:
        transport: The server.
        path: Path of the call.
        body: What is sent.
        control: Who is told, and who may end it.

    Raises:
        Cancelled: If it was cancelled and nothing was changed.
        ColipriError: If the server refuses or is lost; ValueError and TypeError likewise.
    """
    control.check()
    silence = transport.timeouts.silence
    with _Guard(transport, control) as guard:
        try:
            with transport.stream("POST", path, body, silence=silence, job=control.job) as response:
                guard.watch(response)
                return _outcome(transport, response, control)
        except ColipriError:
            control.check()  # a call that was hung up on ends with an error of the connection
            raise


def _outcome(transport: Transport, response: httpx2.Response, control: Control) -> Frame:
    reader, outcome = FrameReader(), None
    pieces = response.iter_bytes()
    while True:
        with transport.translating():
            piece = next(pieces, None)
        if piece is None:
            break
        for frame in reader.feed(piece):
            if outcome is not None:
                msg = "Expected nothing after the result of a call, found another frame."
                raise ProtocolError(msg)
            outcome = _take(frame, control)
    reader.finish()
    if outcome is None:
        msg = f"The answer of {transport.host} was cut off before its result came. Try again."
        raise ServerUnreachableError(msg)
    if not control.edits:
        control.check()
    return outcome


def _take(frame: Frame, control: Control) -> Frame | None:
    if frame.kind is Kind.PROGRESS:
        message = from_plain(ProgressMessage, frame.body)
        control.report(message.fraction, message.message)
    elif frame.kind is Kind.SENTENCE:
        sentence = from_plain(ReportSentence, frame.body)
        control.check()
        if control.on_sentence is not None:
            control.on_sentence(sentence)
    elif frame.kind is Kind.ERROR:
        raise error_from_body(frame.body)
    elif frame.kind is Kind.RESULT:
        return frame
    else:
        msg = f"Expected progress or a result, found a frame {frame.kind.name}."
        raise ProtocolError(msg)
    return None


class _Guard:
    """Ends a call that was cancelled, from a thread of its own.

    Args:
        transport: The server.
        control: Who may end it.
    """

    def __init__(self, transport: Transport, control: Control) -> None:
        self._transport = transport
        self._control = control
        self._response: httpx2.Response | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="colipri-guard", daemon=True)

    def watch(self, response: httpx2.Response) -> None:
        """Take the answer that is read."""
        self._response = response

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()

    def _run(self) -> None:
        control = self._control
        while not (control.cancel.cancelled or control.closed.cancelled):
            if self._done.wait(_POLL_S):
                return
        if control.edits and not control.closed.cancelled:
            with contextlib.suppress(ColipriError):
                self._transport.json("DELETE", f"{PREFIX}/jobs/{control.job}")
            if self._done.wait(self._transport.timeouts.cancel):
                return
        ending = time.monotonic() + self._transport.timeouts.cancel
        while not self._done.wait(_POLL_S) and time.monotonic() < ending:
            if self._response is not None:
                _hang_up(self._response)


def _hang_up(response: httpx2.Response) -> None:
    """Wake the thread that reads: closing a socket alone would leave it waiting."""
    stream: Any = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
