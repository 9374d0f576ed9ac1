"""`colipri-train phrases`: a phrase head on the frozen encoder of a bundle."""

from __future__ import annotations

from typing import Annotated

import typer

from colipri_training.cli.stages import BundleOption
from colipri_training.cli.stages import CasesOption
from colipri_training.cli.stages import FirstCaseOption
from colipri_training.cli.stages import HalfOption
from colipri_training.cli.stages import OutputOption
from colipri_training.cli.stages import OverridesArgument
from colipri_training.cli.stages import PhantomsOption
from colipri_training.cli.stages import ResumeOption
from colipri_training.cli.stages import SettingsOption
from colipri_training.cli.stages import tell_start


def phrases(
    output: OutputOption,
    overrides: OverridesArgument = None,
    *,
    init: Annotated[str, typer.Option(help="Shipped bundle or bundle folder: the encoders, kept frozen.")] = "tiny",
    store: PhantomsOption = None,
    cases: CasesOption = 2500,
    first_case: FirstCaseOption = 2500,
    steps: Annotated[int, typer.Option(min=1, help="Steps in all.")] = 4000,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak.")] = 2e-3,
    bundle: BundleOption = None,
    resume: ResumeOption = False,
    half: HalfOption = False,
    settings: SettingsOption = None,
) -> None:
    """Train what outlines a phrase on phantoms; the encoders stay as they are. Run it again to go on."""
    from colipri_core.model.bundle import load_bundle
    from colipri_core.model.spec import STORAGES
    from colipri_training.config import OptimizerConfig
    from colipri_training.config_json import with_settings
    from colipri_training.data.phantoms import filled
    from colipri_training.data.store import CaseStore
    from colipri_training.outlining.config import OutliningConfig
    from colipri_training.outlining.trainer import PhraseTrainer
    from colipri_training.outlining.trainer import head_for

    tell_start(output, "phrases.pt", resume=resume)
    source = load_bundle(init)
    course = OutliningConfig(
        head=head_for(source),
        optimizer=OptimizerConfig(steps=steps, learning_rate=learning_rate),
        cases=cases,
        first_case=first_case,
    )
    course = with_settings(course, (*(settings or ()), *(overrides or ())))
    phantoms = filled(CaseStore(store or output / "cases"), course.seeds, source.spec.preprocessing)
    trainer = PhraseTrainer(course, source, store=phantoms, folder=output)
    trainer.run()
    place = bundle or output / "bundle"
    spec = trainer.export(place, overwrite=True, storage=STORAGES[half])
    if trainer.best is not None:
        typer.echo(f"{trainer.best:.0%} of the focal lesions of {course.validation_cases} validation phantoms found")
    typer.echo(f"{place}: {spec.files['model.safetensors']}")
