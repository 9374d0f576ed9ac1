"""`colipri-train clicks`: the interactive segmenter, from nothing or from another to a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from colipri_training.cli.stages import HalfOption
from colipri_training.cli.stages import OverridesArgument
from colipri_training.cli.stages import SettingsOption
from colipri_training.cli.stages import tell_start
from colipri_training.cli.structures import NO_LICENCE
from colipri_training.cli.structures import AllOption
from colipri_training.cli.structures import LicenceOption
from colipri_training.cli.structures import ProjectOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colipri_core.project_labels import LabelledCase
    from colipri_training.clicks.export import Adaptation
    from colipri_training.clicks.trainer import ClickTrainer
    from colipri_training.project.scenes import ProjectScenes


def clicks(
    output: Annotated[Path, typer.Option(help="Folder of the run: log and checkpoints.")],
    overrides: OverridesArgument = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the whole run; 4000 if omitted, with --project 300.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="End after minutes of training instead.")] = None,
    init: Annotated[
        str | None, typer.Option(help="Bundle whose weights to begin with; with --project `clicks` if omitted.")
    ] = None,
    project: ProjectOption = None,
    all_cases: AllOption = False,
    bundle: Annotated[Path | None, typer.Option(help="Where to write the bundle afterwards, in place of one.")] = None,
    licence: LicenceOption = NO_LICENCE,
    half: HalfOption = False,
    settings: SettingsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides weights, scenes and prompts.")] = 0,
) -> None:
    """Train the interactive segmenter with simulated users; SIGTERM and Ctrl-C save and stop, with exit status 130.

    It learns on generated scenes. With --project half of the scenes are regions of the project's scans around what was
    labelled there, and the other half are generated, so that nothing is forgotten.
    """
    from colipri_training.clicks.config import ClickConfig
    from colipri_training.clicks.config import adapting
    from colipri_training.clicks.export import export
    from colipri_training.clicks.trainer import ClickTrainer
    from colipri_training.config_json import with_settings

    if steps is not None and minutes is not None:
        msg = "Give --steps or --minutes, not both."
        raise ValueError(msg)
    config = dataclasses.replace(adapting() if project else ClickConfig(), seed=seed)
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    config = with_settings(config, (*(settings or ()), *(overrides or ())))
    learned, judged = _labels(project, seed, only_done=not all_cases) if project else ((), ())
    trainer = ClickTrainer(config, output, minutes=minutes, source=_scenes(learned), judged=_scenes(judged))
    tell_start(output, "checkpoints", resume=resume)
    begun = trainer.resume() if resume else trainer.has_checkpoint()
    if begun and not resume:
        msg = f"{output} holds a run already; pass --resume to go on with it, or choose an empty folder."
        raise ValueError(msg)
    if not begun and (init or project):
        _begin(trainer, init or "clicks")
    before = trainer.validated() if project else {}
    trainer.run()
    if project:
        _tell(before, trainer.validated())
    if bundle is not None:
        adaptation = _adaptation(project, len(learned), licence) if project else None
        spec = export(trainer, bundle, overwrite=True, half=half, adaptation=adaptation)
        typer.echo(f"{spec.name}: {spec.files['model.safetensors']}")


def _labels(project: Path, seed: int, *, only_done: bool) -> tuple[Sequence[LabelledCase], Sequence[LabelledCase]]:
    """Labelled cases to learn from, and the held-out ones."""
    from colipri_core.project import LabelProject
    from colipri_core.project_labels import labelled_cases
    from colipri_training.project.split import held_out

    return held_out(labelled_cases(LabelProject(project), only_done=only_done), share=0.2, seed=seed)


def _scenes(cases: Sequence[LabelledCase]) -> ProjectScenes | None:
    from colipri_training.project.scenes import ProjectScenes

    return ProjectScenes(cases) if cases else None


def _begin(trainer: ClickTrainer, init: str) -> None:
    from colipri_core.model.click_bundle import load_click_bundle

    other = load_click_bundle(init)
    trainer.start_from(other.network.state_dict(), origin=f"{other.spec.name} ({other.sha256[:8]})")


def _tell(before: dict[str, float], after: dict[str, float]) -> None:
    for name, value in before.items():
        scenes = "held-out scans" if name.startswith("project_") else "generated scenes"
        prompts = name.rpartition("_")[2]
        typer.echo(f"{scenes}, Dice after {prompts} prompts: {value:.3f} before, {after[name]:.3f} after")


def _adaptation(project: Path, cases: int, licence: str) -> Adaptation:
    from colipri_training.clicks.export import Adaptation

    return Adaptation(data=f"from {cases} labelled volumes of {project.resolve().name}", licence=licence)
