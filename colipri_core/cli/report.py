"""`colipri report`: a draft report whose sentences show their evidence."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli import options
from colipri_core.report import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.cli.batch import Outputs
    from colipri_core.remote.stores import Archive
    from colipri_core.report import Report
    from colipri_core.session import Session
    from colipri_core.volume import Volume


def report(
    ct: options.CTs,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=".md, .txt, .json, .html or .dcm; of several CTs a folder.",
            show_default=False,
        ),
    ] = None,
    suffix: options.Suffix = ".html",
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
    composed: Annotated[
        bool, typer.Option("--composed", help="Compose the draft from the findings, even if the model can write.")
    ] = False,
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Draft a report; each sentence names its finding, its place and the model's second opinion.

    A model with a report decoder writes the draft; for others, and with --composed or --store, it is composed from the
    findings, and what is found is worded as the best-matching sentences of --store. It is always a DRAFT; .dcm is a
    DICOM SR, UNVERIFIED. Several CTs, or a folder of scans, give {"cases": [...]}, as `classify` does.
    """
    from colipri_core.cli.batch import each
    from colipri_core.cli.batch import scans_of
    from colipri_core.cli.inputs import Inputs
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened_engine
    from colipri_core.cli.work import opened_store
    from colipri_core.io import check_report_output
    from colipri_core.io import read_volume
    from colipri_core.report import DraftOptions

    wanted = DraftOptions(threshold=threshold, beams=beams, composed=composed or bool(store))
    scans = scans_of(ct, series=series)
    outputs = None if output is None else _outputs(output, suffix, is_batch=scans is not None)
    inputs = Inputs(ct if scans is None else [scan.path for scan in scans])
    terminal = Terminal(json=json, quiet=quiet)
    choice = ModelChoice(model=model, device=device)
    volume = None if scans else read_volume(ct[0], series=series)  # unfit input fails before the model is loaded

    def check(found: Volume) -> None:
        if output is not None:
            place = output if outputs is None else outputs.name(found.name)
            inputs.check(place)
            check_report_output(place, source=found)

    if volume is not None:
        check(volume)
    with contextlib.ExitStack() as stack:
        earlier: Archive | None = None
        if store:
            engine, earlier, control = stack.enter_context(opened_store(store, choice, terminal))
        else:
            engine, control = stack.enter_context(opened_engine(choice, terminal))

        def work(session: Session) -> tuple[dict[str, Any], RenderableType]:
            case = session.volume.name
            place = output if outputs is None else outputs.take(case)
            drafted = session.draft_report(
                store=earlier, options=wanted, progress=control.progress, cancel=control.cancel
            )
            terminal.warn([f"{case}: {text}" if scans else text for text in drafted.provenance.warnings])
            return _written(drafted, session, place), _shown(drafted)

        if scans is not None:
            return each(scans, engine, terminal, work, series=series, check=check)
        assert volume is not None
        document, words = work(stack.enter_context(engine.open(volume)))
    terminal.result(document, lambda: words)
    return 0


def _outputs(output: Path, suffix: str, *, is_batch: bool) -> Outputs | None:
    """The files in a folder of drafts; None for one draft in a file of its own. Refuses other formats."""
    from colipri_core.cli.batch import Outputs
    from colipri_core.cli.batch import check_folder
    from colipri_core.cli.terminal import check_output
    from colipri_core.io import REPORT_SUFFIXES

    if is_batch or output.is_dir():
        check_folder(output, suffix=suffix, suffixes=REPORT_SUFFIXES, what="drafts")
        return Outputs(output, description="draft", kind="report", suffix=suffix)
    check_output(output, suffixes=REPORT_SUFFIXES)
    return None


def _written(drafted: Report, session: Session, output: Path | None) -> dict[str, Any]:
    """Write a draft, if it is to be; return its JSON values."""
    from colipri_core.io import write_report

    if output is None:
        return drafted.to_json()
    write_report(drafted, output, source=session.volume, evidence=session.evidence)
    return {**drafted.to_json(), "output": str(output)}


def _shown(drafted: Report) -> RenderableType:
    from rich.markdown import Markdown

    from colipri_core.report_words import as_markdown

    return Markdown(as_markdown(drafted))
