"""`colipri classify`: probabilities of findings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.findings import Findings
    from colipri_core.session import Session


def classify(
    ct: options.CTs,
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

    One CT gives {"case", "model", "findings", "provenance"}. Several, or a folder of scans, give {"cases": [...]} of
    these; one that cannot be used is {"case", "error"} there, the others are done all the same, and the exit status is
    that of the error.
    """
    from colipri_core.cli.batch import each
    from colipri_core.cli.batch import scans_of
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened
    from colipri_core.cli.work import opened_engine
    from colipri_core.vocabulary.wordings import wording

    for text in finding or ():
        wording(text)  # empty text is refused before anything is read
    terminal = Terminal(json=json, quiet=quiet)
    choice = ModelChoice(model=model, device=device)
    scans = scans_of(ct, series=series)
    if scans is None:
        with opened(ct[0], choice, terminal, series=series) as (session, control):
            found = session.classify(finding, progress=control.progress, cancel=control.cancel)
        terminal.warn(found.provenance.warnings)
        terminal.result(found.to_json(), lambda: _table(found))
        return 0
    with opened_engine(choice, terminal) as (engine, control):

        def work(session: Session) -> tuple[dict[str, Any], RenderableType]:
            found = session.classify(finding, progress=control.progress, cancel=control.cancel)
            terminal.warn([f"{found.case}: {warning}" for warning in found.provenance.warnings])
            return found.to_json(), _table(found)

        return each(scans, engine, terminal, work, series=series)


def _table(findings: Findings) -> RenderableType:
    from rich.table import Table

    table = Table(title=findings.case, caption=findings.provenance.model.notice)
    table.add_column("finding")
    table.add_column("probability", justify="right")
    table.add_column("calibrated")
    for finding in findings.sorted():
        table.add_row(finding.name, f"{finding.probability:.3f}", "yes" if finding.calibrated else "no")
    return table
