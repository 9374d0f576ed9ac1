"""`colipri index`: make and keep a store of cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.cases import StoredCase
    from colipri_core.index import StoreInfo
    from colipri_core.index.add import AddReport

index = typer.Typer(no_args_is_help=True, help="Make and keep a store of cases, for similar and search.")

Store = Annotated[
    str,
    typer.Argument(metavar="STORE", help="Folder of the store, or s3://, gs:// or az:// address.", show_default=False),
]


@index.command()
def add(
    store: Store,
    ct: Annotated[
        list[Path],
        typer.Argument(metavar="CT...", help="CT volumes, folders of them, or CSV lists.", show_default=False),
    ],
    *,
    reports: Annotated[
        Path | None,
        typer.Option("--reports", metavar="F.csv", help="Table of reports, labels, age, sex, date, tags."),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Replace cases that are in the store already.")] = False,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Add CTs to a store, which is made if it is not there.

    Cases that are in it already are passed over: run the same command again to go on after an interruption. Under
    torchrun, or with RANK and WORLD_SIZE set, each process takes its share. A CT that cannot be used is listed under
    "failed", the others are added all the same, and the exit status is that of the error.
    """
    import warnings

    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import controlled
    from colipri_core.cli.work import engine_of
    from colipri_core.errors import VolumeWarning
    from colipri_core.index import open_store
    from colipri_core.index.add import AddOptions
    from colipri_core.index.add import add_cases
    from colipri_core.index.shard import Shard
    from colipri_core.index.sources import find_sources

    terminal = Terminal(json=json, quiet=quiet)
    warnings.simplefilter("ignore", VolumeWarning)  # they are kept with each case
    choices = AddOptions(shard=Shard.from_environment(), update=update)
    sources = find_sources(ct, reports)
    opened = open_store(store, "w")
    with controlled(terminal) as control, engine_of(ModelChoice(model=model, device=device), control) as engine:
        done = add_cases(opened, engine, sources, options=choices, progress=control.progress, cancel=control.cancel)
    for case, reason in done.failed.items():
        terminal.error(f"{case}: {reason}")
    terminal.result(done.to_json(), lambda: _summary(done, len(opened)))
    return done.exit_code


@index.command(name="list")
def list_cases(
    store: Store,
    *,
    model: options.UnusedModel = "tiny",
    device: options.UnusedDevice = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List the cases of a store."""
    from colipri_core.cli.terminal import Terminal
    from colipri_core.index import open_store

    cases = sorted(open_store(store).cases(), key=lambda case: case.case)
    document = {"cases": [case.to_json() for case in cases]}
    Terminal(json=json, quiet=quiet).result(document, lambda: _case_table(cases))


@index.command()
def remove(
    store: Store,
    case: Annotated[list[str], typer.Argument(metavar="CASE...", help="Names of cases.", show_default=False)],
    *,
    model: options.UnusedModel = "tiny",
    device: options.UnusedDevice = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove cases from a store; the scans themselves are not touched."""
    from colipri_core.cli.terminal import Terminal
    from colipri_core.index import open_store

    open_store(store, "r+").remove(case)
    Terminal(json=json, quiet=quiet).result({"removed": case}, lambda: f"Removed {len(case)} cases.")


@index.command()
def rebuild(
    store: Store,
    *,
    drop_missing: Annotated[
        bool, typer.Option("--drop-missing", help="Leave out cases whose scan is no longer where it was.")
    ] = False,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Encode all cases of a store again, with this model; the store changes to it when all are done."""
    import warnings

    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import controlled
    from colipri_core.cli.work import engine_of
    from colipri_core.errors import VolumeWarning
    from colipri_core.index import open_store
    from colipri_core.index.rebuild import rebuild_store

    terminal = Terminal(json=json, quiet=quiet)
    warnings.simplefilter("ignore", VolumeWarning)
    opened = open_store(store, "r+")
    with controlled(terminal) as control, engine_of(ModelChoice(model=model, device=device), control) as engine:
        dropped = rebuild_store(
            opened, engine, drop_missing=drop_missing, progress=control.progress, cancel=control.cancel
        )
    found = opened.info()
    terminal.result({**found.to_json(), "dropped": list(dropped)}, lambda: _info_table(found))


@index.command()
def info(
    store: Store,
    *,
    model: options.UnusedModel = "tiny",
    device: options.UnusedDevice = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what a store holds, and of which model."""
    from colipri_core.cli.terminal import Terminal
    from colipri_core.index import open_store

    found = open_store(store).info()
    Terminal(json=json, quiet=quiet).result(found.to_json(), lambda: _info_table(found))


def _summary(done: AddReport, cases: int) -> str:
    return (
        f"{len(done.added)} added, {len(done.present)} in the store already, {len(done.failed)} failed; "
        f"the store has {cases} cases."
    )


def _case_table(cases: Sequence[StoredCase]) -> RenderableType:
    from rich.table import Table

    table = Table()
    for column in ("case", "findings", "age", "sex", "date", "tags", "path"):
        table.add_column(column)
    for case in cases:
        age = "" if case.age is None else f"{case.age:g}"
        day = "" if case.date is None else case.date.isoformat()
        table.add_row(case.case, ", ".join(case.findings), age, case.sex, day, ", ".join(case.tags), case.path)
    return table


def _info_table(info: StoreInfo) -> RenderableType:
    from rich.table import Table

    model = info.model
    table = Table(title=info.address, show_header=False, caption=model.notice if model else None)
    table.add_row("cases", str(info.cases))
    table.add_row("parts of cases", str(info.regions))
    table.add_row("sentences", str(info.sentences))
    table.add_row("vector index", ", ".join(info.indexed) or "none: every vector is compared")
    table.add_row("weights", model.sha256 if model else "none yet")
    return table
