"""`colipri-train clicks`: the interactive segmenter, from nothing to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def clicks(
    output: Annotated[Path, typer.Option(help="Folder of the run: log and checkpoints.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    steps: Annotated[int | None, typer.Option(min=0, help="Steps of the whole run; 4000 if omitted.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="End after minutes of training instead.")] = None,
    init: Annotated[Path | None, typer.Option(help="Bundle whose weights to begin with.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Where to write the bundle afterwards, in place of one.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides weights, scenes and prompts.")] = 0,
) -> None:
    """Train the interactive segmenter on generated scenes with simulated users; saves and stops on SIGTERM."""
    import dataclasses

    from colipri_training.clicks.config import ClickConfig
    from colipri_training.clicks.export import export
    from colipri_training.clicks.trainer import ClickTrainer

    if steps is not None and minutes is not None:
        msg = "Give --steps or --minutes, not both."
        raise ValueError(msg)
    config = ClickConfig(seed=seed)
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    trainer = ClickTrainer(config, output, minutes=minutes)
    begun = trainer.resume() if resume else trainer.has_checkpoint()
    if begun and not resume:
        msg = f"{output} holds a run already; pass --resume to go on with it, or choose an empty folder."
        raise ValueError(msg)
    if init is not None and not begun:
        from colipri_core.model.click_bundle import load_click_bundle

        other = load_click_bundle(init)
        trainer.start_from(other.network.state_dict(), origin=f"{other.spec.name} ({other.sha256[:8]})")
    trainer.run()
    if bundle is not None:
        spec = export(trainer, bundle, overwrite=True)
        typer.echo(f"{spec.name}: {spec.files['model.safetensors']}")
