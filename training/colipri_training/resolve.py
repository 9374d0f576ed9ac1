"""The resolved config of a run: its recipe, with the data it reads, the weights it starts from and what is set.

It stands in the folder of the run, as config.json, for its later stages.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import read_document
from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.config import RunOptions
from colipri_training.identity import differences
from colipri_training.identity import plain
from colipri_training.recipes.registry import RECIPES
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.config import is_t3d

CONFIG_FILE = "config.json"


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
    if config.name != recipe:
        msg = (
            f'The name of a run is that of its recipe, "{recipe}", got "{config.name}". Name the bundle when it is '
            "exported: export --name."
        )
        raise ValueError(msg)
    if config.optimizer.steps < 1:
        msg = f"optimizer.steps must be at least 1, got {config.optimizer.steps}"
        raise ValueError(msg)
    if not (config.data.sources or (isinstance(config, PretrainConfig) and config.data.train_cases)):
        msg = f'The recipe "{recipe}" reads prepared data sets: name their folders with --data.'
        raise ValueError(msg)
    return config


def read_config(folder: Path) -> RunConfig:
    """The config of the run in a folder.

    Raises:
        ValueError: If no run was begun there.
        CheckpointError: If it is damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        msg = f'No run was begun in "{folder}": it has no {CONFIG_FILE}. Run `prepare` or `pretrain` there first.'
        raise ValueError(msg)
    document = read_document(path)
    kind: type[RunConfig] = T3DConfig if is_t3d(document) else PretrainConfig
    try:
        return kind.from_json(document)
    except ValueError as error:
        msg = f"Expected the config of a run in {path}, found that {error}. Restore it from a backup."
        raise CheckpointError(msg) from error


def refuse_another_grid(folder: Path, config: RunConfig) -> None:
    """Refuse phantoms on another grid than that of the run in a folder.

    Raises:
        CheckpointError: If they differ.
    """
    told = differences(plain(read_config(folder).preprocessing), plain(config.preprocessing))
    if told:
        msg = f'The run in "{folder}" has begun on another grid ({told}). Choose another --output.'
        raise CheckpointError(msg)


def no_phantoms(folder: Path, recipe: str) -> str:
    """What to do where the phantoms of a run, or their word pieces, are not there."""
    if (folder / CONFIG_FILE).is_file() and (sources := read_config(folder).data.sources):
        again = " ".join(f"--data {source}" for source in sources)
        return f'Expected the data sets that the run in "{folder}" reads, got none. Name them again: {again}.'
    return (
        f'Expected phantoms and word pieces in "{folder}", found not all of them. Run `colipri-train prepare --recipe '
        f"{recipe} --output {folder}` first, or name data sets: --data."
    )
