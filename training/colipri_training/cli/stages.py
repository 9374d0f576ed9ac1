"""`colipri-train stem`, `pretrain` and `export`: the stages of a run after its data are prepared."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

OutputOption = Annotated[Path, typer.Option(help="Folder of the run; the stage goes on where it stopped.")]
RecipeOption = Annotated[
    str | None, typer.Option(help="Recipe that the run must be of; the folder knows it, so this is only a check.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a field of the config otherwise, such as optimizer.steps=2000; repeatable."),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Fields of the config, as with --set.", show_default=False),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Say so where nothing is there to go on from; it goes on without this as well.")
]
HalfOption = Annotated[bool, typer.Option("--half", help="Store the weights as float16, in half the space.")]

PhantomsOption = Annotated[
    Path | None,
    typer.Option("--store", help="Folder of prepared phantoms, filled where they are missing; OUTPUT/cases."),
]
CasesOption = Annotated[int, typer.Option(min=1, help="Training phantoms.")]
FirstCaseOption = Annotated[
    int, typer.Option(min=0, help="Seed of the first: best one that the encoder has not learned from.")
]
BundleOption = Annotated[Path | None, typer.Option(help="Where to write the bundle; OUTPUT/bundle if omitted.")]


def pretrain(
    output: OutputOption,
    overrides: OverridesArgument = None,
    *,
    recipe: Annotated[
        str, typer.Option(help="tiny, smoke, a variant of tiny, smoke or colipri such as colipri-crm-opposite, or t3d.")
    ] = "tiny",
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Folder that `prepare MANIFEST` filled; repeatable. Without any: the phantoms of the run."),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Start from these weights: a bundle's folder or name, or microsoft/colipri.")
    ] = None,
    init_text: Annotated[
        str | None,
        typer.Option(
            help="Start the text encoder from this BERT: a folder or hub id with model.safetensors, vocab.txt."
        ),
    ] = None,
    resume: ResumeOption = False,
    settings: SettingsOption = None,
) -> None:
    """Train the encoders. Run it again to go on; SIGTERM and Ctrl-C save and stop, with exit status 130.

    Several GPUs: torchrun --nproc-per-node N --no-python colipri-train pretrain ...
    """
    from colipri_training.config import RunOptions
    from colipri_training.distributed import processes
    from colipri_training.run import Run

    options = RunOptions(
        data=tuple(str(folder) for folder in data or ()),
        init=init,
        text_init=init_text,
        settings=(*(settings or ()), *(overrides or ())),
    )
    with processes() as here:
        if not here.first:
            logging.getLogger().setLevel(logging.WARNING)
        else:
            tell_start(output, "checkpoints", resume=resume)
        Run(recipe, output, options).trainer().run()


def stem(
    output: OutputOption,
    overrides: OverridesArgument = None,
    *,
    recipe: RecipeOption = None,
    resume: ResumeOption = False,
    settings: SettingsOption = None,
) -> None:
    """Teach the stem what the lesions of the phantoms look like, before `pretrain`; needs `prepare`."""
    from colipri_training.run import Run

    tell_start(output, "stem.pt", resume=resume)
    Run.begun(output, recipe).stem_trainer((*(settings or ()), *(overrides or ()))).run()


def export(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder of the bundle to write; OUTPUT/bundle if omitted.", show_default=False)
    ] = None,
    *,
    recipe: RecipeOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; the run's if omitted.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights; Apache-2.0 for phantoms, else needed.")
    ] = None,
    half: HalfOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="As for the other stages; a bundle is always written as a whole.")
    ] = False,
) -> None:
    """Write the last checkpoint of a run as a bundle that the viewers open."""
    from colipri_core.errors import OutputError
    from colipri_training.export import export as write
    from colipri_training.run import Run

    place = bundle or output / "bundle"
    if place.exists() and not overwrite:
        msg = f'Expected no folder "{place}" yet, found one. Pass --overwrite to replace it, or name another.'
        raise OutputError(msg)
    spec = write(Run.begun(output, recipe), place, overwrite=overwrite, name=name, licence=licence, half=half)
    typer.echo(f"{spec.name}: {spec.files['model.safetensors']}")


def tell_start(folder: Path, *kept: str, resume: bool) -> None:
    """Say where a command that is to go on begins instead.

    Args:
        folder: Of the run.
        kept: Patterns of what an earlier call would have left in it.
        resume: Whether the command is to go on.
    """
    if resume and not any(True for pattern in kept for _ in folder.glob(pattern)):
        typer.echo(f"Nothing to resume in {folder}: starting.", err=True)
