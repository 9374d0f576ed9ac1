"""`colipri report`: a draft report whose sentences show their evidence."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from colipri_core.cli import options
from colipri_core.report import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.remote.stores import Archive
    from colipri_core.report import Report


def report(
    ct: options.CT,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help=".md, .txt, .json, .html or .dcm.", show_default=False),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="P", help="Probability from which a finding counts as there.")
    ] = DEFAULT_THRESHOLD,
    store: Annotated[
        str,
        typer.Option("--store", metavar="STORE", help="Case store whose sentences word the draft.", show_default=False),
    ] = "",
    beams: Annotated[
        int, typer.Option("--beams", metavar="N", help="Width of the search of a model that writes; 1 is quickest.")
    ] = 1,
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Draft a report; each sentence names its finding, its place and the model's second opinion.

    A model with a report decoder writes the draft, for others it is composed from their findings, and what is found is
    worded as the best-matching sentences of --store. It is always a DRAFT; .dcm is a DICOM SR, UNVERIFIED.
    """
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.terminal import check_output
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened_engine
    from colipri_core.cli.work import opened_store
    from colipri_core.io import REPORT_SUFFIXES
    from colipri_core.io import check_report_output
    from colipri_core.io import read_volume
    from colipri_core.io import write_report
    from colipri_core.report import DraftOptions

    wanted = DraftOptions(threshold=threshold, beams=beams)
    if output is not None:
        check_output(output, suffixes=REPORT_SUFFIXES)
    terminal = Terminal(json=json, quiet=quiet)
    choice = ModelChoice(model=model, device=device)
    volume = read_volume(ct, series=series)
    if output is not None:
        check_report_output(output, source=volume)
    with contextlib.ExitStack() as stack:
        earlier: Archive | None = None
        if store:
            engine, earlier, control = stack.enter_context(opened_store(store, choice, terminal))
        else:
            engine, control = stack.enter_context(opened_engine(choice, terminal))
        session = stack.enter_context(engine.open(volume))
        drafted = session.draft_report(store=earlier, options=wanted, progress=control.progress, cancel=control.cancel)
        if output is not None:
            write_report(drafted, output, source=session.volume, evidence=session.evidence)
    terminal.warn(drafted.provenance.warnings)
    document = drafted.to_json() if output is None else {**drafted.to_json(), "output": str(output)}
    terminal.result(document, lambda: _shown(drafted))
    return 0


def _shown(drafted: Report) -> RenderableType:
    from rich.markdown import Markdown

    from colipri_core.report_words import as_markdown

    return Markdown(as_markdown(drafted))
