"""What engine, sessions and stores of one server share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from colipri_core.errors import SessionClosedError
from colipri_core.progress import CancelToken
from colipri_core.remote.client.transport import CLOSED
from colipri_core.remote.client.transport import Transport
from colipri_core.remote.protocol.sessions import ModelAnswer


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Server:
    """A server that was reached.

    Args:
        transport: The way to it.
        about: What it said of itself.
        notify: Told in words of lost and new connections.
        closed: Set once the engine is closed.
    """

    transport: Transport
    about: ModelAnswer
    notify: Callable[[str], None]
    closed: CancelToken = dataclasses.field(default_factory=CancelToken)

    def check_open(self) -> None:
        """Refuse to go on after the engine was closed.

        Raises:
            SessionClosedError: If it was.
        """
        if self.closed.cancelled:
            raise SessionClosedError(CLOSED)
