"""Downstream recipes: functions that return a whole config. Every number is our choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from colipri_training.config import OptimizerConfig
from colipri_training.transfer.config import DecoderConfig
from colipri_training.transfer.config import Task
from colipri_training.transfer.config import TransferConfig
from colipri_training.transfer.targets import ORGANS
from colipri_training.transfer.targets import SMALL_LESIONS
from colipri_training.transfer.volumes import SubVolumeConfig


def organs_and_lesions() -> TransferConfig:
    """Organs and small lesions in cubes of 192 mm at 1.5 mm: for one GPU."""
    return TransferConfig(
        name="organs-and-lesions",
        task="segmentation",
        volumes=SubVolumeConfig(size=(128, 128, 128), spacing_mm=(1.5, 1.5, 1.5), train=400, test=100),
        targets=(*ORGANS, *SMALL_LESIONS),
        crop=(96, 96, 96),
        decoder=DecoderConfig(width=24, widest=256),
        optimizer=OptimizerConfig(steps=6000, learning_rate=1e-3, weight_decay=0.01),
        batch_size=4,
        bf16=True,
    )


def findings() -> TransferConfig:
    """The 18 findings of the same cubes, by fine-tuning: for one GPU."""
    return dataclasses.replace(
        organs_and_lesions(),
        name="findings",
        task="classification",
        crop=(128, 128, 128),
        optimizer=OptimizerConfig(steps=3000, learning_rate=3e-4, weight_decay=0.01),
        batch_size=8,
    )


def small_segmentation() -> TransferConfig:
    """Organs and small lesions in cubes of 96 mm at 2 mm, learned from crops of 64 mm: minutes on a laptop's processor.

    In bfloat16 the coarsest maps of such crops would have no sound gradients on a processor.
    """
    return dataclasses.replace(
        organs_and_lesions(),
        name="small-segmentation",
        volumes=SubVolumeConfig(size=(48, 48, 48), spacing_mm=(2.0, 2.0, 2.0), train=200, test=40),
        crop=(32, 32, 32),
        decoder=DecoderConfig(width=8, widest=64),
        optimizer=OptimizerConfig(steps=600, learning_rate=3e-2, weight_decay=0.01),
        batch_size=2,
        overlap=0.25,
        bf16=False,
    )


def small_findings() -> TransferConfig:
    """The 18 findings of the same cubes."""
    return dataclasses.replace(
        small_segmentation(),
        name="small-findings",
        task="classification",
        crop=(48, 48, 48),
        optimizer=OptimizerConfig(steps=300, learning_rate=1e-3, weight_decay=0.01),
        batch_size=4,
        bf16=True,
    )


RECIPES: dict[str, Callable[[], TransferConfig]] = {
    "organs-and-lesions": organs_and_lesions,
    "findings": findings,
    "small-segmentation": small_segmentation,
    "small-findings": small_findings,
}


def recipe(name: str, task: Task) -> TransferConfig:
    """The config of a recipe.

    Raises:
        ValueError: If there is no such recipe for the task; the message lists those there are.
    """
    known = {key: make() for key, make in RECIPES.items() if make().task == task}
    if name not in known:
        msg = f'Unknown recipe "{name}" for {task}. Available: {", ".join(known)}.'
        raise ValueError(msg)
    return known[name]
