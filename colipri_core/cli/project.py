"""`colipri project`: the cases of a label project, what is done, and what to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.errors import InputError
    from colipri_core.project import LabelProject


def project(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of scans.", show_default=False)],
    *,
    rank: Annotated[
        bool, typer.Option("--rank", help="Ask the model about the open cases: the least sure are listed first.")
    ] = False,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """List the cases of a label project with their marks, the most uncertain first once they were ranked.

    The uncertainty of a case is the share of wrong voxels that the model expects in its outlines. It is kept in the
    project; --rank asks about open cases that this model was not asked about yet.
    """
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import controlled
    from colipri_core.cli.work import engine_of
    from colipri_core.project import LabelProject
    from colipri_core.ranking import rank_cases

    terminal = Terminal(json=json, quiet=quiet)
    found = LabelProject(folder)
    failed: dict[str, InputError] = {}
    if rank:
        with (
            controlled(terminal) as control,
            engine_of(ModelChoice(model=model, device=device), control) as engine,
        ):
            failed = rank_cases(found, engine, progress=control.progress, cancel=control.cancel)
    for name, error in failed.items():
        terminal.error(f"{name}: {error}")
    terminal.result(_document(found, failed), lambda: _table(found))
    return next((error.exit_code for error in failed.values()), 0)


def _document(found: LabelProject, failed: dict[str, InputError]) -> dict[str, Any]:
    ranked = found.ranked
    return {
        "project": found.folder.resolve().name,
        "progress": found.progress(),
        "cases": [
            {"case": case.name, "mark": case.mark, "uncertainty": case.uncertainty}
            | ({"ranked_by": ranked[case.name].model} if case.name in ranked else {})
            for case in found.cases
        ],
        "failed": [{"case": name, "code": error.code, "message": str(error)} for name, error in failed.items()],
    }


def _table(found: LabelProject) -> RenderableType:
    from rich.table import Table

    counts = found.progress()
    models = sorted({item.model for item in found.ranked.values()})
    by = f", ranked by {', '.join(models)}" if models else ""
    table = Table(caption=f"{counts['done']} of {len(found.cases)} done, {counts['review']} to review{by}")
    table.add_column("case")
    table.add_column("mark")
    table.add_column("uncertainty", justify="right")
    for case in found.cases:
        value = "" if case.uncertainty is None else f"{case.uncertainty:.3f}"
        table.add_row(case.name, case.mark, value)
    return table
