"""Exporting a run of the interactive segmenter as a bundle of kind "clicks"."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from colipri_core.model.click_spec import ClickSpec
from colipri_core.model.export import save_click_bundle
from colipri_core.model.spec import STORAGES
from colipri_training.clicks.trainer import ClickTrainer

_DESCRIPTION = "A small interactive segmenter for clicks, scribbles, boxes and lassos; independent of the encoder."
_TRAINING_DATA = (
    "{regions} regions of domain-randomised synthetic shapes and generated chest CT phantoms with simulated users"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What a run learned from beside generated scenes.

    Args:
        data: The labelled volumes in a few words.
        licence: Licence of the weights.
    """

    data: str
    licence: str


def export(
    trainer: ClickTrainer,
    folder: Path,
    *,
    overwrite: bool = False,
    half: bool = False,
    adaptation: Adaptation | None = None,
) -> ClickSpec:
    """Write a run's averaged network as a bundle.

    Args:
        trainer: A run that has done a step.
        folder: Where the bundle goes; its name becomes the bundle's.
        overwrite: Replace a bundle that is there.
        half: Store the weights as float16.
        adaptation: The labels it learned from as well, if there were any.

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
    seen = _TRAINING_DATA.format(regions=trainer.step * config.batch_size)
    seen += f", {config.project_share:.0%} of them {adaptation.data}." if adaptation else ", no patient data."
    if trainer.origin:
        seen += f" Began with the weights of {trainer.origin}."
    spec = ClickSpec(
        name=folder.name,
        description=_DESCRIPTION,
        architecture=config.network,
        region=config.shipped_region,
        licence=adaptation.licence if adaptation else "Apache-2.0",
        training_data=seen,
        synthetic=adaptation is None,
        storage=STORAGES[half],
    )
    return save_click_bundle(folder, spec=spec, network=trainer.averaged, overwrite=overwrite)
