"""Names both ends agree on: the version, headers, media types and routes."""

from __future__ import annotations

PROTOCOL_VERSION = 1
"""Version of the protocol; any change of a body or route that an older end would refuse makes a new one."""

OLDEST_PROTOCOL = 1
"""Oldest version this code still speaks."""

PROTOCOL_HEADER = "Colipri-Protocol"
"""Carries the version, on every request under `PREFIX` and on every answer."""

JOB_HEADER = "Colipri-Job"
"""Names a call, so that it can be cancelled: a UUID chosen by the client."""

SERVER_HEADER = "Colipri-Server"
"""Names the server process that answers, on every answer: another one after a restart."""

FRAME_TYPE = "application/x-colipri"
"""Media type of a frame, and of a stream of frames."""

PREFIX = "/v1"
"""All routes but those of health, metrics and documentation begin so."""

TOKEN_VARIABLE = "COLIPRI_SERVER_TOKEN"
"""Environment variable with the token, for server and client."""
