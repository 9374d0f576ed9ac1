"""`colipri-train report`: a language model learns to write reports from a bundle's patch tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colipri_training.cli.stages import OverridesArgument
from colipri_training.cli.stages import ResumeOption
from colipri_training.cli.stages import SettingsOption
from colipri_training.cli.stages import tell_start


def report(
    store: Annotated[Path, typer.Argument(help="Folder of prepared phantoms on the bundle's grid.")],
    language_model: Annotated[str, typer.Option(help="Folder or hub id of a causal language model.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; goes on where it stopped.")],
    overrides: OverridesArgument = None,
    *,
    resume: ResumeOption = False,
    model: Annotated[str, typer.Option(help="Shipped bundle or bundle folder: the encoder, kept frozen.")] = "tiny",
    steps: Annotated[int, typer.Option(help="Steps in all.")] = 2000,
    batch: Annotated[int, typer.Option(help="Reports a step.")] = 8,
    rank: Annotated[int, typer.Option(help="Rank of the LoRA matrices.")] = 16,
    device: Annotated[str, typer.Option(help="Where to train, such as cuda.")] = "cpu",
    settings: SettingsOption = None,
) -> None:
    """Train a projector and LoRA matrices (LLaVA's design); the encoder and the language model stay as they are."""
    import torch

    from colipri_core.model.bundle import load_bundle
    from colipri_training.config_json import with_settings
    from colipri_training.data.store import CaseStore
    from colipri_training.distributed import device_of
    from colipri_training.reporter.data import PairStore
    from colipri_training.reporter.model import LanguageReporter
    from colipri_training.reporter.model import ReporterConfig
    from colipri_training.reporter.train import ReporterTraining
    from colipri_training.reporter.train import train

    place = device_of(device)
    course = with_settings(ReporterTraining(steps=steps, batch=batch), (*(settings or ()), *(overrides or ())))
    tell_start(output, "checkpoints", resume=resume)
    bundle = load_bundle(model)
    width = bundle.model.config.image.width
    config = ReporterConfig(language_model=language_model, token_width=width, rank=rank)
    pairs = PairStore(bundle, CaseStore(store), output / "tokens", pool=config.pool)
    if not len(pairs):
        msg = f"Expected prepared phantoms in {store}, found none. Make them with colipri-train prepare."
        raise ValueError(msg)
    torch.manual_seed(0)
    reporter = LanguageReporter.fresh(config).to(place)
    losses = train(reporter, pairs, course, output)
    typer.echo(f"{output / 'reporter'}: " + (f"{losses[-1]:.3f} nats a word piece" if losses else "was finished"))
