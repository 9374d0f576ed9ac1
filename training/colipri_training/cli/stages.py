"""`colipri-train pretrain`, `structures` and `export`: the stages of a run after its data are prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeOption = Annotated[str, typer.Option(help="Name of the recipe.")]
OutputOption = Annotated[Path, typer.Option(help="Folder of the run; stages go on where they stopped.")]


def pretrain(output: OutputOption, recipe: RecipeOption = "tiny") -> None:
    """Train the encoders; goes on from the last checkpoint, saves and stops on SIGTERM. `torchrun` starts several."""
    from colipri_training.distributed import processes
    from colipri_training.run import Run

    with processes():
        Run(recipe, output).trainer().run()


def structures(output: OutputOption, recipe: RecipeOption = "tiny") -> None:
    """Train the structure head on the frozen encoder; goes on from the last checkpoint."""
    from colipri_training.run import Run

    Run(recipe, output).structure_trainer().run()


def export(
    output: OutputOption,
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle to write.")],
    recipe: RecipeOption = "tiny",
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
) -> None:
    """Write the run as a bundle that the viewers open."""
    from colipri_training.export import export as write
    from colipri_training.run import Run

    spec = write(Run(recipe, output), bundle, overwrite=overwrite)
    typer.echo(f"{spec.name}: {spec.files['model.safetensors']}")
