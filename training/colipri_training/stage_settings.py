"""What the stages of a run beside its pretraining are to do otherwise than their recipe: kept in the run's folder.

Later commands build the same networks from it: `export` those of `structures`, `pretrain` that of `stem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from colipri_core.io.atomic import write_json
from colipri_training.checkpoints import read_document
from colipri_training.config_json import with_settings

_Config = TypeVar("_Config")


def with_stage_settings(config: _Config, folder: Path, stage: str, settings: Sequence[str]) -> _Config:
    """Return the config of a stage with settings, which are kept; without any, with those that were kept.

    Args:
        config: Of the stage, as its recipe has it.
        folder: Of the run.
        stage: "stem" or "structures".
        settings: Such as "optimizer.steps=2000".

    Raises:
        ValueError: If there is no such field, its value does not fit, or the stage was begun with other settings.
    """
    kept = with_settings(config, _kept(folder, stage))
    if not settings:
        return kept
    changed = with_settings(config, settings)
    if (folder / f"{stage}.pt").exists() and changed != kept:
        msg = f'The stage "{stage}" of the run in "{folder}" was begun with other settings; leave them out to go on.'
        raise ValueError(msg)
    write_json(_path(folder, stage), {"settings": list(settings)})
    return changed


def _kept(folder: Path, stage: str) -> list[str]:
    path = _path(folder, stage)
    return list(read_document(path).get("settings", ())) if path.is_file() else []


def _path(folder: Path, stage: str) -> Path:
    return folder / f"{stage}.settings.json"
