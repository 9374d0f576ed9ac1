"""Whether a server can be used, answered in words: what *Test connection* shows."""

from __future__ import annotations

import dataclasses
import statistics
import time

from colipri_core.errors import ColipriError
from colipri_core.provenance import ModelCard
from colipri_core.remote.client.server import about_of
from colipri_core.remote.client.timeouts import Timeouts
from colipri_core.remote.client.transport import Transport

_ROUND_TRIPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectionReport:
    """What a test of a connection found.

    Args:
        url: The address that was tried.
        ok: Whether the server can be used.
        words: What was found, and what to do if it cannot.
        code: Code of the error; empty if there is none.
        card: Its model; None if it cannot be used.
        device: Device the model runs on.
        version: Version of the server's package.
        round_trip_ms: Median time of a short request and its answer; None if it cannot be used.
    """

    url: str
    ok: bool
    words: str
    code: str = ""
    card: ModelCard | None = None
    device: str = ""
    version: str = ""
    round_trip_ms: float | None = None


def check_connection(url: str, token: str | None = None, *, timeouts: Timeouts | None = None) -> ConnectionReport:
    """Try a server: is it there, does it speak this protocol, does it take the token, which model does it have?

    Args:
        url: Its address.
        token: Its token; None for that in COLIPRI_SERVER_TOKEN.
        timeouts: How long to wait.
    """
    try:
        transport = Transport(url, token=token, timeouts=timeouts or Timeouts())
    except ValueError as error:
        return ConnectionReport(url=url, ok=False, words=str(error), code="bad-value")
    try:
        about = about_of(transport)
        round_trip_ms = statistics.median(_round_trip_ms(transport) for _ in range(_ROUND_TRIPS))
    except ColipriError as error:
        return ConnectionReport(url=url, ok=False, words=str(error), code=error.code)
    finally:
        transport.close()
    words = f"Connected to {transport.host}: {about.card.name} on {about.device}, {round_trip_ms:.0f} ms a round trip."
    return ConnectionReport(
        url=url,
        ok=True,
        words=words,
        card=about.card,
        device=about.device,
        version=about.version,
        round_trip_ms=round_trip_ms,
    )


def _round_trip_ms(transport: Transport) -> float:
    start = time.perf_counter()
    transport.json("GET", "/healthz")
    return (time.perf_counter() - start) * 1000
