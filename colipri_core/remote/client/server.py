"""What engine, sessions and stores of one server share."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from colipri_core.errors import ColipriError
from colipri_core.errors import NotFoundError
from colipri_core.errors import ProtocolMismatchError
from colipri_core.errors import SessionClosedError
from colipri_core.progress import CancelToken
from colipri_core.remote.client.transport import CLOSED
from colipri_core.remote.client.transport import Transport
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.sessions import ModelAnswer
from colipri_core.remote.protocol.version import PREFIX


@dataclasses.dataclass(kw_only=True, eq=False)
class Server:
    """A server that was reached.

    Args:
        transport: The way to it.
        about: What it said of itself when it was reached last.
        notify: Told in words of lost and new connections.
        closed: Set once the engine is closed.
    """

    transport: Transport
    about: ModelAnswer
    notify: Callable[[str], None]
    closed: CancelToken = dataclasses.field(default_factory=CancelToken)

    def __post_init__(self) -> None:
        self._answering = self.transport.answering

    def check_open(self) -> None:
        """Refuse to go on after the engine was closed.

        Raises:
            SessionClosedError: If it was.
        """
        if self.closed.cancelled:
            raise SessionClosedError(CLOSED)

    def follow(self) -> None:
        """Ask again what the server is if another one answers in its place, and tell of another model."""
        if self._answering == self.transport.answering:
            return
        self._answering, before = self.transport.answering, self.about.card
        with contextlib.suppress(ColipriError):
            self.about = about_of(self.transport)
        now = self.about.card
        if (now.name, now.sha256) != (before.name, before.sha256):
            self.notify(f"The server at {self.transport.host} runs another model now: {now.name}, not {before.name}.")


def about_of(transport: Transport) -> ModelAnswer:
    """Ask a server what it is.

    Args:
        transport: The way to it.

    Raises:
        ProtocolMismatchError: If it has no such route: another service, or a path too many in the URL.
        ColipriError: If it is not reached, or refuses.
    """
    try:
        return from_plain(ModelAnswer, transport.json("GET", f"{PREFIX}/model"))
    except NotFoundError as error:
        msg = (
            f"Expected a COLIPRI server at {transport.url}, found one that has no {transport.url.path}{PREFIX}/model. "
            "Check the URL: it ends with the port."
        )
        raise ProtocolMismatchError(msg) from error
