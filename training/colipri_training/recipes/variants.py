"""COLIPRI-C, -CM, -CR and -CRM, each with and without opposite sentences, of any recipe.

C is the contrast of volumes and reports, M masked autoencoding, R report generation; CRM is the published model. Which
of them used opposite sentences, and all weights, are not published: ours are 1 each, and 0.5 for opposite sentences.

Variants are there to be compared, so each knows nothing but its own objectives. Aligning sentences before the first
step (`sentence_steps`) teaches the text encoder which sentences are opposites, which is what `-opposite` is about: no
variant does it, and a text encoder that would have learned from it then learns at the full rate. Nor has any a stem
that was taught what lesions look like.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from colipri_training.config import PretrainConfig
from colipri_training.objectives.config import LossConfig

Recipe = Callable[..., PretrainConfig]
"""From the size of the vocabulary (`vocab_size`) to a whole config."""

LETTERS = ("c", "cm", "cr", "crm")


def variant(recipe: Recipe, name: str, letters: str, *, opposite: bool, vocab_size: int) -> PretrainConfig:
    """A recipe with the objectives of a variant; what needs lesion masks, and sentence alignment, is left out.

    Args:
        recipe: Gives everything else, decoder sizes included.
        name: Name of the run.
        letters: One of `LETTERS`.
        opposite: Whether opposite sentences are among the objectives.
        vocab_size: Number of word pieces.
    """
    config = recipe(vocab_size=vocab_size)
    loss = LossConfig(
        contrastive=1.0,
        opposite=0.5 if opposite else 0.0,
        region=0.0,
        attention=0.0,
        report=1.0 if "r" in letters else 0.0,
        reconstruction=1.0 if "m" in letters else 0.0,
        temperature=config.loss.temperature,
    )
    data = config.data if loss.reconstruction else dataclasses.replace(config.data, unpaired=0)
    optimizer = dataclasses.replace(config.optimizer, text_share=1.0) if config.sentence_steps else config.optimizer
    return dataclasses.replace(
        config,
        name=name,
        model=dataclasses.replace(
            config.model, image=dataclasses.replace(config.model.image, stem_maps=0), pooler_peaks=0
        ),
        loss=loss,
        data=data,
        optimizer=dataclasses.replace(optimizer, stem_share=1.0),
        sentence_steps=0,
        stem_taught=False,
    )


def variants(base: str, recipe: Recipe) -> dict[str, Recipe]:
    """All variants of a recipe, as `base-crm` and `base-crm-opposite`."""
    names = {
        f"{base}-{letters}{'-opposite' if opposite else ''}": (letters, opposite)
        for letters in LETTERS
        for opposite in (False, True)
    }
    return {
        name: functools.partial(variant, recipe, name, letters, opposite=opposite)
        for name, (letters, opposite) in names.items()
    }
