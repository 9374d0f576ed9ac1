"""Logs as JSON lines, without patient data: what is not known to be free of it is not written.

Only the fields of `note` are written, and they hold numbers, codes, kinds of jobs and templates of routes. Of any
other record, whoever wrote it, only where it comes from is kept: its text could quote a file, a prompt or a report. Of
an exception the types and the lines of code are kept, not the message.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
import traceback
import warnings
from typing import Any
from typing import TextIO

logger = logging.getLogger("colipri_core.remote.server")

Field = str | int | float | bool | None
_FIELDS = "colipri_fields"


def note(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Field) -> None:
    """Write an event.

    Args:
        event: Its name.
        level: Its level.
        error: What went wrong.
        **fields: Values that are free of patient data.
    """
    logger.log(level, event, exc_info=error, extra={_FIELDS: fields})


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        moment = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC)
        document: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = getattr(record, _FIELDS, None)
        if fields is None:
            document |= {"event": "message", "at": f"{record.filename}:{record.lineno}"}
        else:
            document |= {"event": record.getMessage(), **fields}
        if record.exc_info and record.exc_info[1] is not None:
            document["error"] = _described(record.exc_info[1])
        return json.dumps(document, allow_nan=False)


def log_as_json(level: int, *, stream: TextIO | None = None) -> None:
    """Send all logs of this process to a stream as JSON lines, and keep the texts of warnings out of it.

    Args:
        level: Lowest level of this package's own events; others are written from warnings up.
        stream: Where to; None for stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("colipri_core", "uvicorn"):
        other = logging.getLogger(name)
        other.handlers[:] = []
        other.propagate = True
        other.setLevel(logging.WARNING)
    logger.setLevel(level)
    warnings.showwarning = _note_warning


def _note_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    note("warning", level=logging.DEBUG, category=category.__name__)


def _described(error: BaseException) -> list[dict[str, Any]]:
    """Types and places of an error and of what caused it, innermost first."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return [
        {
            "type": type(link).__name__,
            "at": [
                f"{frame.filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(link.__traceback__)
            ],
        }
        for link in reversed(chain)
    ]
