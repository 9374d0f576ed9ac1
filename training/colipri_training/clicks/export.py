"""Exporting a run of the interactive segmenter as a bundle of kind "clicks"."""

from __future__ import annotations

from pathlib import Path

from colipri_core.model.click_spec import ClickSpec
from colipri_core.model.export import save_click_bundle
from colipri_training.clicks.trainer import ClickTrainer

_DESCRIPTION = "A small interactive segmenter for clicks, scribbles, boxes and lassos; independent of the encoder."
_TRAINING_DATA = (
    "{regions} regions of domain-randomised synthetic shapes and generated chest CT phantoms with simulated users, "
    "no patient data."
)


def export(trainer: ClickTrainer, folder: Path, *, overwrite: bool = False) -> ClickSpec:
    """Write a run's averaged network as a bundle.

    Args:
        trainer: A run that has done a step.
        folder: Where the bundle goes; its name becomes the bundle's.
        overwrite: Replace a bundle that is there.

    Returns:
        The spec as written.

    Raises:
        ValueError: If the run has not begun.
        FileExistsError: If the folder exists and `overwrite` is false.
    """
    if trainer.step == 0:
        msg = "The run has not begun: there is nothing to export yet."
        raise ValueError(msg)
    config = trainer.config
    began = f" Began with the weights of {trainer.origin}." if trainer.origin else ""
    spec = ClickSpec(
        name=folder.name,
        description=_DESCRIPTION,
        architecture=config.network,
        region=config.shipped_region,
        licence="Apache-2.0",
        training_data=_TRAINING_DATA.format(regions=trainer.step * config.batch_size) + began,
        synthetic=True,
    )
    return save_click_bundle(folder, spec=spec, network=trainer.averaged, overwrite=overwrite)
