"""`colipri-train structures`: the structure head of a run on phantoms, or one fine-tuned on a label project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from colipri_training.cli.stages import HalfOption
from colipri_training.cli.stages import OutputOption
from colipri_training.cli.stages import OverridesArgument
from colipri_training.cli.stages import RecipeOption
from colipri_training.cli.stages import ResumeOption
from colipri_training.cli.stages import SettingsOption
from colipri_training.cli.stages import tell_start

if TYPE_CHECKING:
    from colipri_training.project.structures import FineTuning
    from colipri_training.project.structures import StructureTuning

ProjectOption = Annotated[
    Path | None, typer.Option(help="Label project: a folder of scans as napari's Project section writes it.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Also learn from labelled cases that are not marked done.")]
LicenceOption = Annotated[str, typer.Option(help="Licence of the fine-tuned weights; the data's may bind them.")]

NO_LICENCE = "Not stated; bound by those of the project's data and of the model it began with"


def structures(
    output: OutputOption,
    overrides: OverridesArgument = None,
    *,
    recipe: RecipeOption = None,
    resume: ResumeOption = False,
    project: ProjectOption = None,
    init: Annotated[
        str, typer.Option(help="With --project: where to begin; tiny, official, or a bundle's folder.")
    ] = "tiny",
    structure: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME=CODE of a labelled structure to learn; repeatable. All if omitted."),
    ] = None,
    train_encoder: Annotated[
        bool, typer.Option("--train-encoder", help="Let the encoder learn as well, at a tenth of the head's rate.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a fine-tuning.")] = 200,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak for the head.")] = 2e-3,
    validation: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the cases to choose by.")] = 0.2,
    all_cases: AllOption = False,
    bundle: Annotated[Path | None, typer.Option(help="Where to write the bundle; OUTPUT/bundle if omitted.")] = None,
    licence: LicenceOption = NO_LICENCE,
    half: HalfOption = False,
    settings: SettingsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is held out, order and augmentation.")] = 0,
) -> None:
    """Train a structure head: of a pretrained run on phantoms, or with --project on scans labelled in the viewer.

    Run it again to go on where it stopped. With --project the head outlines what is labelled there, starts from the
    head of INIT where that has one, and is written as a bundle that the viewers open.
    """
    tell_start(output, "structures.pt", resume=resume)
    changes = (*(settings or ()), *(overrides or ()))
    if project is None:
        from colipri_training.config import RunOptions
        from colipri_training.run import Run

        run = Run.begun(output, recipe, RunOptions(structures=changes))
        for _ in run.structure_phantoms(workers=os.cpu_count() or 1):
            pass
        run.structure_trainer().run()
        return
    from colipri_training.config_json import with_settings
    from colipri_training.project.structures import FineTuning

    config = FineTuning(
        steps=steps,
        learning_rate=learning_rate,
        encoder_share=0.1 if train_encoder else 0.0,
        validation=validation,
        seed=seed,
    )
    config = with_settings(config, changes)
    tuning = _tuning(project, init, structure or (), output, config, all_cases=all_cases)
    before = tuning.scores()
    tuning.trainer.run()
    after = tuning.scores()
    for name, score in before.items():
        typer.echo(f"{name}: Dice {score:.3f} before, {after[name]:.3f} after, on {len(tuning.validation)} held-out")
    place = bundle or output / "bundle"
    spec = tuning.export(
        place, source=project.resolve().name, licence=licence, overwrite=True, storage="float16" if half else "float32"
    )
    typer.echo(f"{place}: {spec.files['model.safetensors']}")


def _tuning(
    project: Path, init: str, structure: Sequence[str], output: Path, config: FineTuning, *, all_cases: bool
) -> StructureTuning:
    from colipri_core.model.bundle import load_bundle
    from colipri_core.project import LabelProject
    from colipri_core.project_labels import labelled_cases
    from colipri_training.project.structures import StructureTuning
    from colipri_training.project.volumes import structures_of

    cases = labelled_cases(LabelProject(project), only_done=not all_cases)
    bundle = load_bundle("microsoft/colipri" if init == "official" else init)
    return StructureTuning(bundle, cases, structures_of(cases, structure), folder=output, config=config)
