"""The tie between a session here and its other half at the server: made when first needed, and made again when lost.

The client's own labels and history are the truth: they hold exactly what was acknowledged. Whenever the server's half
is gone, or stands elsewhere, a new one is opened with that history, and the call that failed is made again on top of
it. So nothing acknowledged is lost, and nothing is made twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator

from colipri_core.editing.editor import LabelEditor
from colipri_core.errors import ColipriError
from colipri_core.errors import OutOfStepError
from colipri_core.errors import ServerBusyError
from colipri_core.errors import ServerFaultError
from colipri_core.errors import ServerStoppingError
from colipri_core.errors import ServerTimeoutError
from colipri_core.errors import ServerUnreachableError
from colipri_core.errors import SessionClosedError
from colipri_core.errors import SessionUnknownError
from colipri_core.errors import VolumeUnknownError
from colipri_core.progress import Reporter
from colipri_core.remote.client.calls import Control
from colipri_core.remote.client.calls import long_call
from colipri_core.remote.client.server import Server
from colipri_core.remote.client.transport import Body
from colipri_core.remote.client.transport import Transport
from colipri_core.remote.client.upload import send_volume
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.sessions import OpenRequest
from colipri_core.remote.protocol.sessions import SessionAnswer
from colipri_core.remote.protocol.sessions import opening_frames
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.protocol.volumes import sendable
from colipri_core.volume import Volume

logger = logging.getLogger(__name__)

_LOST = (
    OutOfStepError,
    ServerBusyError,
    ServerUnreachableError,
    SessionClosedError,
    SessionUnknownError,
    VolumeUnknownError,
)
_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_SENDING_SHARE = 0.3


class Link:
    """Makes the calls of one session.

    Args:
        server: The server.
        volume: The volume.
    """

    def __init__(self, server: Server, volume: Volume) -> None:
        self.revision = 0
        self.lease_s = 60.0
        self.on_lease: Callable[[], None] = lambda: None
        self._server = server
        self._transport = server.transport
        self._volume = volume
        self._session = ""
        self._lock = threading.RLock()

    @property
    def path(self) -> str:
        """Path of the session at the server, empty while there is none."""
        return f"{PREFIX}/sessions/{self._session}" if self._session else ""

    def call(
        self, route: str, body: Callable[[], Body], editor: Callable[[], LabelEditor | None], control: Control
    ) -> Frame:
        """Make a long call, over a new connection or to a new session if the old one is lost.

        Args:
            route: Last part of its path.
            body: Makes what is sent; called again for each attempt.
            editor: The labels here; None while nobody has looked at them.
            control: Who is told, and who may end it.

        Raises:
            ColipriError: If the server refuses, or stays away; ValueError and TypeError likewise.
        """
        attempt = 0
        while True:
            path = self.path
            try:
                path, rest = self._ready(editor(), control)
                result = long_call(self._transport, f"{path}/{route}", body(), rest)
            except _LOST as error:
                attempt += 1
                last = attempt == _ATTEMPTS or isinstance(error, ServerTimeoutError)
                if last or (isinstance(error, ServerBusyError) and attempt == 1 and not _is_stopping(error)):
                    raise
                control.check()
                self._recover(error, path, control)
            else:
                self._server.follow()
                return result

    def verify(self) -> None:
        """Look whether the server stands where this end does; forget its half of the session if not."""
        if not self._session:
            return
        try:
            answer = from_plain(SessionAnswer, self._transport.json("GET", self.path))
        except _LOST:  # the next call finds out whether the server is there, and waits for it
            self._forget(self.path)
            return
        if answer.revision != self.revision:
            self.end()

    def heartbeat(self) -> None:
        """Renew the lease; a server that cannot be reached is left to the next call."""
        path = self.path
        if path:
            with contextlib.suppress(ColipriError):
                self._transport.json("POST", f"{path}/heartbeat")
                self._server.follow()

    def end(self) -> None:
        """End the session at the server, if it can be reached."""
        path = self.path
        if path:
            with contextlib.suppress(ColipriError):
                self._transport.json("DELETE", path)
            self._forget(path)

    def _ready(self, editor: LabelEditor | None, control: Control) -> tuple[str, Control]:
        """Have a session at the server; returns its path and the control for the rest of the call."""
        with self._lock:
            if self._session:
                return self.path, control
            report = Reporter(control.report, control.cancel)
            self._open(editor, report.part(0.0, _SENDING_SHARE))
            return self.path, dataclasses.replace(control, progress=report.part(_SENDING_SHARE, 1.0))

    def _open(self, editor: LabelEditor | None, report: Reporter) -> None:
        volume = sendable(self._volume)
        send_volume(self._transport, volume, report)
        done, undone = editor.history if editor is not None else ((), ())
        request = OpenRequest(volume=volume.sha256, name=self._volume.name, unit=self._volume.unit)

        def content() -> Iterator[bytes]:
            for parts in opening_frames(request, done=done, undone=undone):
                yield b"".join(parts)

        answer = from_plain(SessionAnswer, self._transport.json("POST", f"{PREFIX}/sessions", content()))
        if (len(answer.state.undo), len(answer.state.redo)) != (len(done), len(undone)):
            msg = f"Expected a session with {len(done)} edits, the server opened one with {len(answer.state.undo)}."
            raise ServerFaultError(msg)
        self._session, self.revision, self.lease_s = answer.session, answer.revision, answer.lease_s
        self.on_lease()

    def _recover(self, error: ColipriError, path: str, control: Control) -> None:
        if isinstance(error, (ServerUnreachableError, ServerStoppingError, SessionClosedError)):
            self._wait(error, control)
        elif isinstance(error, ServerBusyError):  # the call whose answer was lost is still being ended
            time.sleep(_FIRST_PAUSE_S)
        elif isinstance(error, OutOfStepError):
            self.end()
        else:
            self._forget(path)

    def _forget(self, path: str) -> None:
        """Forget a session, unless another thread has opened a new one since."""
        with self._lock:
            if self.path == path:
                self._session = ""

    def _wait(self, error: ColipriError, control: Control) -> None:
        """Wait for the server to answer again."""
        transport = self._transport
        words = f"The connection to {transport.host} was lost. Reconnecting ..."
        self._server.notify(words)
        logger.warning("%s", error)
        ending, pause = time.monotonic() + transport.timeouts.reconnect, _FIRST_PAUSE_S
        while True:
            control.check()
            control.report(0.0, words)
            try:
                transport.json("GET", "/readyz")
            except (ServerUnreachableError, ServerStoppingError) as again:
                if time.monotonic() + pause > ending:
                    raise _gave_up(transport, again) from error
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                self._server.notify(f"Connected to {transport.host} again. No edit was lost.")
                return


def _is_stopping(error: ColipriError) -> bool:
    return isinstance(error, ServerStoppingError)


def _gave_up(transport: Transport, error: ColipriError) -> ColipriError:
    msg = (
        f"The server at {transport.host} was lost and did not come back within {transport.timeouts.reconnect:g} s "
        f"({error}) All edits made before are kept: start it again with `colipri serve`, then repeat the last step."
    )
    return ServerUnreachableError(msg)
