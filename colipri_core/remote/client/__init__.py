"""The torch-free client of `colipri serve`: an engine behind a URL with the API of one in this process."""

from __future__ import annotations

from colipri_core.remote.client.connection import ConnectionReport
from colipri_core.remote.client.connection import check_connection
from colipri_core.remote.client.engine import RemoteEngine
from colipri_core.remote.client.session import RemoteSession
from colipri_core.remote.client.store import RemoteStore
from colipri_core.remote.client.timeouts import Timeouts

__all__ = ["ConnectionReport", "RemoteEngine", "RemoteSession", "RemoteStore", "Timeouts", "check_connection"]
