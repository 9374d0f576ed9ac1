"""`colipri classify`: probabilities of findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.findings import Findings


def classify(
    ct: Annotated[
        list[Path], typer.Argument(metavar="CT...", help="CT volumes: files or DICOM folders.", show_default=False)
    ],
    *,
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", metavar="TEXT", help="Finding or free text; repeat for more.", show_default=False),
    ] = None,
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write the probability of each finding.

    One CT gives {"case", "model", "findings", "provenance"}. Several give {"cases": [...]} of these; one that cannot
    be used is {"case", "error"} there, the others are done all the same, and the exit status is that of the error.
    """
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.vocabulary.wordings import wording

    for text in finding or ():
        wording(text)  # empty text is refused before anything is read
    terminal = Terminal(json=json, quiet=quiet)
    choice = ModelChoice(model=model, device=device)
    if len(ct) == 1:
        return _one(ct[0], choice, terminal, findings=finding, series=series)
    return _many(ct, choice, terminal, findings=finding, series=series)


def _one(
    ct: Path, choice: ModelChoice, terminal: Terminal, *, findings: Sequence[str] | None, series: str | None
) -> int:
    from colipri_core.cli.work import opened

    with opened(ct, choice, terminal, series=series) as (session, control):
        found = session.classify(findings, progress=control.progress, cancel=control.cancel)
    terminal.warn(found.provenance.warnings)
    terminal.result(found.to_json(), lambda: _table(found))
    return 0


def _many(
    cts: Sequence[Path], choice: ModelChoice, terminal: Terminal, *, findings: Sequence[str] | None, series: str | None
) -> int:
    import warnings

    from rich.console import Group

    from colipri_core.cli.work import controlled
    from colipri_core.cli.work import engine_of
    from colipri_core.errors import InputError
    from colipri_core.errors import VolumeWarning
    from colipri_core.io import read_volume

    warnings.simplefilter("ignore", VolumeWarning)  # they come again with the result, under the name of their CT
    documents: list[dict[str, Any]] = []
    tables: list[RenderableType] = []
    status = 0
    with controlled(terminal) as control, engine_of(choice, control) as engine:
        for ct in cts:
            try:
                with engine.open(read_volume(ct, series=series)) as session:
                    found = session.classify(findings, progress=control.progress, cancel=control.cancel)
            except InputError as error:
                terminal.error(f"{ct.name}: {error}")
                documents.append({"case": ct.name, "error": {"code": error.code, "message": str(error)}})
                status = error.exit_code
                continue
            terminal.warn([f"{found.case}: {warning}" for warning in found.provenance.warnings])
            documents.append(found.to_json())
            tables.append(_table(found))
    terminal.result({"cases": documents}, lambda: Group(*tables))
    return status


def _table(findings: Findings) -> RenderableType:
    from rich.table import Table

    table = Table(title=findings.case, caption=findings.provenance.model.notice)
    table.add_column("finding")
    table.add_column("probability", justify="right")
    table.add_column("calibrated")
    for finding in findings.sorted():
        table.add_row(finding.name, f"{finding.probability:.3f}", "yes" if finding.calibrated else "no")
    return table
