"""Where an engine runs: in this process, or behind a real server on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from colipri_core.engine import Engine
from colipri_core.remote.client import RemoteEngine
from support.serving import serving

PLACES = ("local", "remote")


@contextlib.contextmanager
def placed(engine: Engine, place: str, **settings: Any) -> Iterator[Engine]:
    """Yield an engine, or the same one behind a server that passes every report of progress on.

    Args:
        engine: An engine in this process; it is closed by whoever opened it.
        place: One of `PLACES`.
        **settings: Fields of `ServerSettings`.
    """
    if place == "local":
        yield engine
        return
    with (
        mock.patch("colipri_core.remote.server.jobs._PROGRESS_S", 0.0),
        serving(engine, **settings) as url,
        RemoteEngine(url) as remote,
    ):
        yield remote
