"""Logs without patient data, whoever writes them."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from colipri_core.errors import VolumeWarning
from colipri_core.remote.server.logs import log_as_json
from colipri_core.remote.server.logs import note

SECRET = "Miller^Hans"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    names = ("", "colipri_core", "uvicorn", "colipri_core.remote.server")
    kept = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in names}
    show = warnings.showwarning
    stream = io.StringIO()
    log_as_json(logging.INFO, stream=stream)
    yield stream
    warnings.showwarning = show
    for name, (handlers, level) in kept.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_its_fields(stream: io.StringIO) -> None:
    note("job", kind="classify", ms=12.5)

    (line,) = lines(stream)
    assert (line["event"], line["kind"], line["ms"], line["level"]) == ("job", "classify", 12.5, "info")
    assert line["time"].endswith("+00:00")


@pytest.mark.parametrize("name", ["colipri_core.editing.journal", "uvicorn.error", "lance", "colipri_core.remote"])
def test_of_other_messages_only_the_place_is_kept(name: str, stream: io.StringIO) -> None:
    logging.getLogger(name).warning("%s was not read", SECRET)
    logging.getLogger(name).warning(f"{SECRET} was not read")

    assert SECRET not in stream.getvalue()
    assert [line["event"] for line in lines(stream)] == ["message", "message"]
    assert lines(stream)[0]["at"].startswith("test_server_logs.py:")


def test_of_an_error_types_and_places_are_kept(stream: io.StringIO) -> None:
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError as error:
        note("job_failed", error=error)

    (line,) = lines(stream)
    assert [link["type"] for link in line["error"]] == ["ValueError", "RuntimeError"]
    assert "test_of_an_error_types_and_places_are_kept" in line["error"][0]["at"][0]
    assert SECRET not in stream.getvalue()


def test_warnings_of_readers_keep_their_text(stream: io.StringIO) -> None:
    warnings.warn(f"{SECRET} covers less than a chest", VolumeWarning, stacklevel=1)

    assert SECRET not in stream.getvalue()
