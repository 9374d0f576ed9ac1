"""`colipri-train phantoms`: a folder of generated chest CT, with masks, reports and a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from colipri_training.cli.stages import ResumeOption
from colipri_training.cli.stages import tell_start


def phantoms(
    output: Annotated[Path, typer.Option(help="Folder to fill; finished phantoms in it are kept.")],
    count: Annotated[int, typer.Option(min=1, help="Number of phantoms.")] = 10,
    first_seed: Annotated[
        int, typer.Option(min=0, help="First seed: train below 1000000, validation below 2000000, test above.")
    ] = 0,
    spacing: Annotated[float, typer.Option(min=0.3, help="Voxel size in mm.")] = 1.5,
    shape: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Voxels per axis; as many as 384 mm need if omitted.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    resume: ResumeOption = False,
) -> None:
    """Generate chest CT: NIfTI volumes (int16 HU), structure and lesion masks, reports, and a manifest.csv."""
    from colipri_training.phantoms.dataset import write_dataset
    from colipri_training.phantoms.grid import PhantomGrid

    tell_start(output, "phantoms.json", resume=resume)
    size = shape or (max(1, round(384 / spacing)),) * 3
    grid = PhantomGrid(shape=size, spacing=(spacing,) * 3)
    seeds = range(first_seed, first_seed + count)
    made = write_dataset(output, seeds, grid, workers=workers)
    for _ in track(made, total=count, description="phantoms", console=Console(stderr=True)):
        pass
