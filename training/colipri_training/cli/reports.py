"""`colipri-train sort-reports`: the reports of a manifest in sections and plain sentences, by a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress


def sort_reports(
    manifest: Annotated[Path, typer.Argument(help="Manifest (.csv, .parquet).")],
    output: Annotated[Path, typer.Option(help="Manifest to write, with the sorted reports.")],
    model: Annotated[str, typer.Option(help="Folder or hub id of an instruction-tuned causal language model.")],
    cache: Annotated[Path, typer.Option(help="Folder that keeps the model's answers.")] = Path("out/sorted-reports"),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Optional: sort reports into findings and impression, one statement a sentence, with a language model.

    An answer that says something else than the report is not taken; rules sort that report.
    """
    from colipri_training.data.manifest_files import read_manifest
    from colipri_training.data.manifest_files import write_manifest
    from colipri_training.data.report_llm import LanguageModel
    from colipri_training.data.report_llm import ReportStructurer
    from colipri_training.data.report_llm import structure_manifest
    from colipri_training.distributed import device_of

    found = read_manifest(manifest)
    structure = ReportStructurer(LanguageModel(model, device=str(device_of(device))), cache)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("reports", total=len(found.entries))
        done = structure_manifest(found, structure, lambda count: bar.update(task, completed=count))
    write_manifest(output, done)
    typer.echo(f"{done.notes[-1]} {output}")
