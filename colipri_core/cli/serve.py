"""`colipri serve`: one model for many front ends, over HTTP."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from colipri_core.cli.options import Device
from colipri_core.cli.options import Json
from colipri_core.cli.options import Model
from colipri_core.cli.options import Quiet
from colipri_core.cli.terminal import Terminal
from colipri_core.cli.work import ModelChoice
from colipri_core.cli.work import controlled
from colipri_core.cli.work import engine_of

if TYPE_CHECKING:
    pass


def serve(
    *,
    model: Model = "tiny",
    device: Device = "auto",
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="TCP port; 0 for any that is free.")] = 8765,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FOLDER", help="Where volumes and edits are kept.")
    ] = None,
    token: Annotated[
        str,
        typer.Option("--token", metavar="SECRET", envvar="COLIPRI_SERVER_TOKEN", help="Secret that clients send."),
    ] = "",
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve a model to front ends on this or other machines until Ctrl-C."""
    from colipri_core.remote.server import ServerSettings
    from colipri_core.remote.server import serve as run

    terminal = Terminal(json=json_output, quiet=quiet)
    settings = ServerSettings(state=state or Path("state"), host=host, port=port, token=token)
    with controlled(terminal) as control:
        engine = engine_of(ModelChoice(model=model, device=device), control)
    with engine:
        run(engine, settings, on_ready=lambda url: _announce(url, json_output))


def _announce(url: str, as_json: bool) -> None:
    sys.stdout.write((json.dumps({"url": url}) if as_json else f"Ready at {url}") + "\n")
    sys.stdout.flush()
