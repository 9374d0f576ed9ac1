"""`colipri-train probe`: how well one linear layer on frozen features tells the findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colipri_training.cli import transfer
from colipri_training.cli.stages import OverridesArgument
from colipri_training.cli.stages import RecipeOption
from colipri_training.cli.stages import ResumeOption
from colipri_training.cli.stages import SettingsOption
from colipri_training.cli.stages import tell_start


def probe(
    overrides: OverridesArgument = None,
    *,
    output: Annotated[Path, typer.Option(help="Folder of the run; figures go into OUTPUT/probe, and are kept.")],
    recipe: RecipeOption = None,
    init: Annotated[
        list[str] | None,
        typer.Option(help="Encoder in place of the run's, as `transfer` takes it: LABEL=SOURCE or SOURCE; repeatable."),
    ] = None,
    cases: Annotated[str, typer.Option(help="What is probed: findings, or small-findings.")] = "small-findings",
    fraction: transfer.FractionOption = None,
    seeds: transfer.SeedsOption = 3,
    first_seed: transfer.FirstSeedOption = 0,
    resume: ResumeOption = False,
    settings: SettingsOption = None,
    volumes: Annotated[
        Path | None, typer.Option(help="Where sub-volumes are kept; OUTPUT/probe/volumes if omitted.")
    ] = None,
    workers: transfer.WorkersOption = 1,
    device: transfer.DeviceOption = "auto",
    json: transfer.JsonOption = False,
) -> None:
    """Fit a linear layer on the frozen encoder of a run, and measure AUROC of the 18 findings of phantoms.

    The same as `transfer classification --encoder probe`, for a run. On prepared data sets: `evaluate --task probe`.
    """
    from colipri_training.run import Run

    if recipe is not None or not init:
        run = Run.begun(output, recipe)
        init = init or [f"{run.recipe}={output}"]
    place = output / "probe"
    tell_start(place, "*/config.json", resume=resume)
    config = transfer.config_of(cases, "classification", (*(settings or ()), *(overrides or ())))
    seed_range = range(first_seed, first_seed + seeds)
    cells = list(transfer.cells_of(config, init, [("probe", "frozen")], fraction or [1.0], seed_range))
    transfer.run_cells(cells, place, volumes, workers=workers, device=device, as_json=json)
