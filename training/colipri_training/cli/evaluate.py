"""`colipri-train evaluate`: figures of one or several models on phantoms, prepared data sets and real masks."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TaskID
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn

from colipri_training.cli.stages import ResumeOption
from colipri_training.cli.stages import tell_start

if TYPE_CHECKING:
    from colipri_training.evaluation.cases import Source


def evaluate(
    *,
    output: Annotated[Path, typer.Option(help="Folder of the results; what was computed in it is kept.")],
    resume: ResumeOption = False,
    model: Annotated[
        list[str] | None, typer.Option(help="Shipped bundle, folder or hub id; repeat it to compare. tiny if omitted.")
    ] = None,
    prepared: Annotated[
        list[Path] | None, typer.Option(help="Folder of `prepare`: its own training and validation splits are used.")
    ] = None,
    external: Annotated[
        list[Path] | None,
        typer.Option(help="Prepared folder to test whole, with probes and thresholds from the first."),
    ] = None,
    cases: Annotated[
        int | None, typer.Option(min=0, help="Phantoms to test; 500, or 0 with prepared folders, if omitted.")
    ] = None,
    validation_cases: Annotated[int, typer.Option(min=0, help="Phantoms that choose thresholds and epochs.")] = 200,
    train_cases: Annotated[
        int | None, typer.Option(min=0, help="Most training cases for probes; 1000 phantoms, or all prepared ones.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Where the phantoms are kept.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of real volumes with masks of structures.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="zero-shot, probe, retrieval, reports or structures; all if omitted.")
    ] = None,
    probe_epochs: Annotated[int, typer.Option(min=1, help="Passes over the training cases of a probe.")] = 50,
    probe_seeds: Annotated[int, typer.Option(min=1, help="Probes that are averaged.")] = 3,
    structure_cases: Annotated[
        int, typer.Option(min=0, help="Phantoms whose outlines are compared with their masks; each takes seconds.")
    ] = 50,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples of an interval.")] = 1000,
    calibrate: Annotated[
        bool, typer.Option(help="Fit probabilities, and write calibrated copies of the models.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that generate phantoms.")] = 2,
) -> None:
    """Zero-shot, probes, retrieval, reports and structures, with intervals: evaluation.json and evaluation.html."""
    from colipri_training.distributed import device_of
    from colipri_training.evaluation.bench import TASKS
    from colipri_training.evaluation.bench import RunOptions
    from colipri_training.evaluation.evaluate import EvaluationOptions
    from colipri_training.evaluation.evaluate import evaluate as evaluate_all
    from colipri_training.evaluation.probes import ProbeOptions

    options = EvaluationOptions(
        models=tuple(model or ["tiny"]),
        run=RunOptions(
            output=output,
            tasks=tuple(task or TASKS),
            probe=ProbeOptions(epochs=probe_epochs, seeds=probe_seeds),
            outlined=structure_cases,
            resamples=resamples,
            calibrate=calibrate,
        ),
        device=device if device == "auto" else str(device_of(device)),
        real=data,
    )
    tell_start(output, "features", "cases", resume=resume)
    sources = _prepared(prepared or [], external or [], train_cases)
    phantoms = (0 if sources else 500) if cases is None else cases
    if phantoms:
        train = 1000 if train_cases is None else train_cases
        sizes = {"test": phantoms, "validation": validation_cases, "train": train}
        sources.append(_phantoms(store or output / "cases", sizes, workers))
    with _progress() as on_case:
        document = evaluate_all(sources, options, on_case)
    _tell(document, output)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on stderr, one for each thing that is being done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        known: dict[str, TaskID] = {}

        def on_case(description: str, done: int, total: int) -> None:
            if description not in known:
                known[description] = bars.add_task(description, total=total)
            bars.update(known[description], completed=done)

        yield on_case


def _tell(document: dict[str, Any], output: Path) -> None:
    """Write the main figures to stdout."""
    from colipri_training.evaluation.tables import real_table
    from colipri_training.evaluation.tables import summary_table

    for name in document["models"][0]["datasets"]:
        typer.echo(f"## {name}\n\n{summary_table(document, name).markdown()}\n")
    if (real := real_table(document)) is not None:
        typer.echo(f"## Real volumes\n\n{real.markdown()}\n")
    for section in document["models"]:
        for dataset in section["datasets"].values():
            _tell_calibration(section["name"], dataset.get("calibration", {}), output)
    typer.echo(f"Report: {output / 'evaluation.html'}")


def _tell_calibration(model: str, section: dict[str, Any], output: Path) -> None:
    if "not_done" in section:
        typer.echo(f"{model} was not calibrated: {section['not_done']}")
    if "bundle" in section:
        before, after = section["mean"]["before"], section["mean"]["after"]
        typer.echo(
            f"{model}: {section['calibrated']} findings calibrated on {section['validation_cases']} validation cases. "
            f"On {section['cases']} test cases, mean Brier score {before['brier']:.3f} before and {after['brier']:.3f} "
            f"after, mean calibration error {before['ece']:.3f} before and {after['ece']:.3f} after."
        )
        if "note" in section:
            typer.echo(section["note"])
        typer.echo(f"Calibrated copy: {output / section['bundle']}")


def _prepared(prepared: list[Path], external: list[Path], train_cases: int | None) -> list[Source]:
    from colipri_training.evaluation.cases import PreparedSource

    sizes = {} if train_cases is None else {"train": train_cases}
    own = [PreparedSource(folder, sizes=sizes) for folder in prepared]
    return [*own, *(PreparedSource(folder, external=True) for folder in external)]


def _phantoms(store: Path, sizes: dict[str, int], workers: int) -> Source:
    from colipri_training.evaluation.cases import PhantomSource

    return PhantomSource(store, sizes, workers=workers)
