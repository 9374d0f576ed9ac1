"""How long a client waits, phase by phase."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds a client waits before it gives up. The defaults are our choice.

    Args:
        connect: For the server to take a connection.
        write: For it to take the next piece of what is sent, such as a volume.
        read: For the answer to a short request.
        silence: For the next word of a long call; the server reports progress while it works.
        cancel: For the end of a call that was cancelled.
        reconnect: For a lost server to come back, before a call fails.
    """

    connect: float = 5.0
    write: float = 60.0
    read: float = 30.0
    silence: float = 300.0
    cancel: float = 10.0
    reconnect: float = 30.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) >= 0:
                msg = f"Expected seconds to wait ({field.name}), got {getattr(self, field.name)}."
                raise ValueError(msg)
