"""`colipri-train evaluate`: a model's figures on held-out phantoms and on real volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    output: Annotated[Path, typer.Option(help="JSON file of the figures.")],
    model: Annotated[str, typer.Option(help="Shipped bundle or bundle folder.")] = "tiny",
    cases: Annotated[int, typer.Option(help="Held-out phantoms, from the first test seed on.")] = 500,
    store: Annotated[Path | None, typer.Option(help="Where the phantoms are kept.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of real volumes with masks.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that generate phantoms.")] = 2,
) -> None:
    """Zero-shot AUROC and pointing game on test phantoms with unseen wordings; Dice on real CT if there is any."""
    from colipri_training.evaluation.report import evaluate_bundle

    figures = evaluate_bundle(model, cases=cases, store=store or output.parent / "cases", data=data, workers=workers)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(figures, indent=1) + "\n")
    typer.echo(figures["table"])
