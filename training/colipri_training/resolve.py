"""The resolved config of a run: its recipe, with the data it reads, the weights it starts from and what is set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.config import RunOptions
from colipri_training.recipes.registry import RECIPES


def resolve(recipe: str, options: RunOptions, *, vocab_size: int) -> RunConfig:
    """Return the whole config of a run.

    Args:
        recipe: Name of the recipe.
        options: What the run has besides.
        vocab_size: Word pieces of its tokenizer.

    Raises:
        ValueError: If a setting does not fit, or the recipe reads prepared data sets and none is named.
    """
    config = RECIPES[recipe](vocab_size=vocab_size)
    sources = tuple(str(Path(folder).expanduser().absolute()) for folder in options.data)
    data = dataclasses.replace(config.data, sources=sources)
    config = dataclasses.replace(config, data=data, init=options.init, text_init=options.text_init)
    if isinstance(config, PretrainConfig):
        if options.init:
            config = dataclasses.replace(config, whiten=False, stem_taught=False)
        if options.init or options.text_init:
            config = dataclasses.replace(config, sentence_steps=0)
    config = config.changed(options.settings)
    if not (config.data.sources or (isinstance(config, PretrainConfig) and config.data.train_cases)):
        msg = f'The recipe "{recipe}" reads prepared data sets: name their folders with --data.'
        raise ValueError(msg)
    return config
