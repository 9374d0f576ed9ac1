"""The recipes by name, and those of the stages around a pretraining."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.config import StemConfig
from colipri_training.config import StructureConfig
from colipri_training.recipes import colipri
from colipri_training.recipes import t3d
from colipri_training.recipes import tiny
from colipri_training.recipes.variants import variants

RECIPES: dict[str, Callable[..., RunConfig]] = {
    "tiny": tiny.tiny,
    "tiny-whole": tiny.tiny_whole,
    "smoke": tiny.smoke,
    **variants("tiny", tiny.tiny),
    **variants("smoke", tiny.smoke),
    **variants("colipri", colipri.colipri),
    **t3d.recipes(),
}
STEM_RECIPES: dict[str, Callable[[PretrainConfig], StemConfig]] = {"tiny": tiny.tiny_stem, "smoke": tiny.smoke_stem}
STRUCTURE_RECIPES: dict[str, Callable[[Any], StructureConfig]] = {
    "tiny": tiny.tiny_structures,
    "smoke": tiny.smoke_structures,
    "t3d": t3d.t3d_structures,
    "t3d_tiny": t3d.t3d_tiny_structures,
    "t3d_smoke": t3d.t3d_smoke_structures,
}


def recipe(name: str, vocab_size: int) -> RunConfig:
    """The config of a recipe, as it stands.

    Raises:
        ValueError: If there is no such recipe; the message lists them.
    """
    check_recipe(name)
    return RECIPES[name](vocab_size=vocab_size)


def check_recipe(name: str) -> None:
    """Refuse a recipe that there is not.

    Raises:
        ValueError: If there is no such recipe; the message lists them.
    """
    if name not in RECIPES:
        msg = f'Unknown recipe "{name}". Available: {", ".join(sorted(RECIPES))}.'
        raise ValueError(msg)
