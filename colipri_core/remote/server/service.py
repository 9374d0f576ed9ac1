"""What all requests share: the engine, the settings, and whether the server is ready or stopping."""

from __future__ import annotations

from colipri_core.engine import Engine
from colipri_core.remote.server.settings import ServerSettings


class Service:
    """The state of one application.

    Args:
        engine: The model, loaded.
        settings: How it is served.
    """

    def __init__(self, engine: Engine, settings: ServerSettings) -> None:
        self.engine = engine
        self.settings = settings
        self.ready = False

    async def start(self) -> None:
        """Begin to serve."""
        self.ready = True

    async def stop(self) -> None:
        """End jobs, save and close sessions. Stopping twice does nothing."""
        self.ready = False
