"""`colipri-train manifest` and `prepare`: from a data set on disk, or a recipe's phantoms, to what a run reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.progress import track

from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.cli.stages import SettingsOption


def manifest(
    layout: Annotated[
        str,
        typer.Argument(help="How the data set lies: ct-rate-v1, ct-rate-v2, nlst, rad-chestct, phantoms or folder."),
    ],
    folder: Annotated[Path, typer.Argument(help="Where it lies.")],
    output: Annotated[Path, typer.Option(help="Manifest to write, .csv or .parquet.")],
) -> None:
    """List a data set as a manifest: volumes, reports, labels, patients and splits. First step with real data."""
    from colipri_training.data.layouts import manifest_of
    from colipri_training.data.manifest_files import write_manifest

    found = manifest_of(folder, layout)
    for note in found.notes:
        typer.echo(note, err=True)
    write_manifest(output, found)
    reports = sum(entry.report is not None for entry in found.entries)
    patients = len({entry.patient for entry in found.entries})
    typer.echo(f"{len(found.entries)} volumes of {patients} patients, {reports} with a report: {output}")


def prepare(
    output: Annotated[Path, typer.Option(help="Folder to fill; what is finished in it is kept.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MANIFEST | KEY=VALUE",
            help="Manifest (.csv, .parquet); without one, the phantoms of the recipe, with fields set as with --set.",
            show_default=False,
        ),
    ] = None,
    *,
    recipe: Annotated[
        str | None, typer.Option(help="Whose grid; if omitted tiny, with a manifest the published one (2 mm).")
    ] = None,
    spacing: Annotated[
        float | None, typer.Option(min=0.3, help="Voxel size in mm in place of the recipe's; only with a manifest.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    resume: Annotated[bool, typer.Option(help="Go on in a folder that holds prepared volumes.")] = True,
    settings: SettingsOption = None,
) -> None:
    """Bring all volumes of a manifest onto the model's grid, or generate a recipe's phantoms there, compressed.

    With a manifest, OUTPUT is what `pretrain --data` reads; without one, it is the folder of the run itself.
    """
    manifests, overrides = _told_apart(sources or ())
    changes = (*(settings or ()), *overrides)
    if not manifests:
        if spacing is not None:
            msg = "--spacing goes with a manifest; a recipe's phantoms take --set preprocessing.spacing_mm=[...]."
            raise ValueError(msg)
        _prepare_phantoms(recipe or "tiny", output, workers, changes)
    elif len(manifests) > 1:
        msg = f"Expected one manifest, got {', '.join(map(str, manifests))}. Prepare each into a folder of its own."
        raise ValueError(msg)
    elif changes:
        msg = "--set goes with the phantoms of a recipe; a manifest is prepared by its grid alone."
        raise ValueError(msg)
    else:
        _prepare_manifest(manifests[0], output, _grid_of(recipe, spacing), workers=workers, resume=resume)


def _told_apart(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Manifests and settings; a file may have an equals sign in its name."""
    settings = [word for word in words if "=" in word and not Path(word).exists()]
    return [Path(word) for word in words if word not in settings], settings


def _prepare_phantoms(recipe: str, output: Path, workers: int, settings: tuple[str, ...]) -> None:
    from colipri_training.config import RunOptions
    from colipri_training.run import Run

    run = Run(recipe, output, RunOptions(settings=settings))
    for _ in track(run.prepare(workers=workers), description="phantoms", console=Console(stderr=True)):
        pass


def _grid_of(recipe: str | None, spacing: float | None) -> PreprocessSpec:
    from colipri_training.recipes.registry import recipe as recipe_of

    grid = PreprocessSpec.published() if recipe is None else recipe_of(recipe, 1).preprocessing
    return grid if spacing is None else dataclasses.replace(grid, spacing_mm=(spacing,) * 3)


def _prepare_manifest(path: Path, output: Path, spec: PreprocessSpec, *, workers: int, resume: bool) -> None:
    from colipri_training.data.manifest_files import read_manifest
    from colipri_training.data.prepare import REFUSED
    from colipri_training.data.prepare import PrepareOptions
    from colipri_training.data.prepare import prepare as prepare_all

    found = read_manifest(path)
    for note in found.notes:
        typer.echo(note, err=True)
    options = PrepareOptions(spec=spec, workers=workers, resume=resume)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("volumes", total=1.0)
        summary = prepare_all(found, output, options, lambda done, name: bar.update(task, completed=done))
    refused = f", {len(summary.refused)} refused (see {output / REFUSED})" if summary.refused else ""
    typer.echo(f"{summary.made} volumes prepared, {summary.kept} kept{refused}: {output}")
