"""The server: one engine for many front ends, over HTTP.

`create_app` makes the application, `serve` runs it until it is told to stop, and `ServerSettings` says how. What goes
over the wire is in `colipri_core.remote.protocol` and docs/reference/wire-protocol.md. Needs the extra "server".
"""

from __future__ import annotations

from colipri_core.remote.server.app import create_app
from colipri_core.remote.server.run import serve
from colipri_core.remote.server.settings import Limits
from colipri_core.remote.server.settings import ServerSettings

__all__ = ["Limits", "ServerSettings", "create_app", "serve"]
