"""`colipri serve`: one model for many front ends, over HTTP."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from colipri_core.cli.options import ClicksModel
from colipri_core.cli.options import Device
from colipri_core.cli.options import Json
from colipri_core.cli.options import LocalModel
from colipri_core.cli.options import Quiet
from colipri_core.cli.terminal import Terminal
from colipri_core.cli.work import ModelChoice
from colipri_core.cli.work import controlled
from colipri_core.cli.work import engine_of
from colipri_core.engine import SHIPPED_CLICKS
from colipri_core.errors import MissingDependencyError
from colipri_core.errors import UnreadableInputError
from colipri_core.progress import Reporter

if TYPE_CHECKING:
    from colipri_core.engine import Engine
    from colipri_core.remote.server.settings import ServerSettings

_PACKAGES = {"fastapi", "starlette", "uvicorn", "prometheus_client", "pydantic"}


def serve(
    cases: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CT]...", help="CTs that the browser view offers; needs --web.", show_default=False),
    ] = None,
    *,
    model: LocalModel = "tiny",
    device: Device = "auto",
    clicks_model: ClicksModel = SHIPPED_CLICKS,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; any but loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="TCP port; 0 for any that is free.")] = 8765,
    token: Annotated[
        str,
        typer.Option(
            "--token",
            metavar="SECRET",
            envvar="COLIPRI_SERVER_TOKEN",
            show_default=False,
            help="Secret that clients send; better given by the environment, where other users cannot read it.",
        ),
    ] = "",
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="PEM", help="Certificate chain, to serve HTTPS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="PEM", help="Its private key.")] = None,
    root: Annotated[
        Path | None, typer.Option("--root", metavar="FOLDER", help="Folder below which volumes may be opened by path.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FOLDER", help="Where volumes and edits are kept.")
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="NAME=ADDRESS", help="Case store that may be searched; repeat for more."),
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Serve the browser view as well.")] = False,
    lease: Annotated[
        float, typer.Option("--lease", metavar="S", help="Seconds after which a silent session is saved and closed.")
    ] = 120.0,
    max_sessions: Annotated[int, typer.Option("--max-sessions", metavar="N", help="Open sessions.")] = 32,
    max_jobs: Annotated[int, typer.Option("--max-jobs", metavar="N", help="Calls that wait or run.")] = 64,
    max_voxels: Annotated[int, typer.Option("--max-voxels", metavar="N", help="Voxels of a volume.")] = 2**29,
    max_body: Annotated[float, typer.Option("--max-body", metavar="GIB", help="One request, but uploads.")] = 0.5,
    max_memory: Annotated[float, typer.Option("--max-memory", metavar="GIB", help="Volumes in memory.")] = 16.0,
    max_disk: Annotated[float, typer.Option("--max-disk", metavar="GIB", help="Volumes on disk.")] = 64.0,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve a model to front ends on this or other machines, until Ctrl-C or SIGTERM."""
    with _installed():
        from colipri_core.remote.server.settings import Limits
        from colipri_core.remote.server.settings import ServerSettings

        limits = Limits(
            lease_s=lease,
            sessions=max_sessions,
            jobs=max_jobs,
            volume_voxels=max_voxels,
            body_bytes=int(max_body * 2**30),
            memory_bytes=int(max_memory * 2**30),
            disk_bytes=int(max_disk * 2**30),
        )
        settings = ServerSettings(
            state=state or _default_state(port),
            host=host,
            port=port,
            root=root,
            token=token,
            tls_cert=tls_cert,
            tls_key=tls_key,
            stores=_stores(store or ()),
            web=web,
            cases=_cases(cases or (), web=web),
            limits=limits,
        )
        choice = ModelChoice(model=model, device=device, clicks_model=clicks_model)
        if choice.is_remote:
            msg = (
                f'Expected a model that runs on this machine, got the address of a server, "{model}". Give front ends '
                "that address, or name a shipped model, a bundle folder or a hub id."
            )
            raise ValueError(msg)
        terminal = Terminal(json=json_output, quiet=quiet)
        terminal.warn(choice.notices)
        _run(settings, choice, terminal)


def _run(settings: ServerSettings, choice: ModelChoice, terminal: Terminal) -> None:
    from colipri_core.remote.server.logs import log_as_json
    from colipri_core.remote.server.run import reserved
    from colipri_core.remote.server.run import serve as run
    from colipri_core.remote.server.stores import Stores

    with reserved(settings) as listener:
        Stores(settings.stores, settings.root).check_all()
        with controlled(terminal) as control:
            if settings.web:
                from colipri_core.remote.web.library import library_module

                library_module(report=Reporter(control.progress, control.cancel))  # fails before the model is loaded
            engine = engine_of(choice, control)
        log_as_json(logging.WARNING if terminal.quiet else logging.INFO)
        with engine:
            run(engine, settings, listener=listener, on_ready=lambda url: _announce(url, engine, settings, terminal))


def _announce(url: str, engine: Engine, settings: ServerSettings, terminal: Terminal) -> None:
    if terminal.json:
        document = {"url": url, "model": engine.card.name, "device": engine.device}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        page = f"Open {url}/ in a browser. " if settings.web else ""
        sys.stdout.write(f"Serving {engine.card.name} on {engine.device} at {url} - {page}Ctrl-C stops.\n")
    sys.stdout.flush()


def _cases(paths: Sequence[Path], *, web: bool) -> tuple[Path, ...]:
    if paths and not web:
        msg = "Expected --web with the CTs named: they are for the browser view. Add --web, or leave them out."
        raise ValueError(msg)
    for path in paths:
        if not path.exists():
            msg = (
                f'Expected a CT at "{path}", found nothing there. Check the spelling, and that the drive is connected.'
            )
            raise UnreadableInputError(msg)
    return tuple(paths)


def _stores(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, separator, address = text.partition("=")
        if not separator or not address or name in found:
            msg = f'Expected --store NAME=ADDRESS, each name once, got "{text}".'
            raise ValueError(msg)
        found[name] = address
    return found


def _default_state(port: int) -> Path:
    """A folder of each port's own, so that two servers of one user do not meet."""
    from platformdirs import user_state_path

    return user_state_path("colipri") / "server" / str(port)


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    """Say which extra is missing, if one is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        msg = (
            f"Serving needs the package {error.name}, which is not installed. "
            'Install it with: pip install "napari-colipri[server,local]"'
        )
        raise MissingDependencyError(msg) from error
