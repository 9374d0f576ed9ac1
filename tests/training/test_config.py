"""Configs as JSON and settings on the command line: what is wrong is named."""

from __future__ import annotations

import json

import pytest

from colipri_training.config import PretrainConfig
from colipri_training.recipes.registry import RECIPES

CONFIG = RECIPES["smoke-crm"](vocab_size=100)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_survives_json(recipe: str) -> None:
    config = RECIPES[recipe](vocab_size=100)
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_settings_reach_any_depth_and_kind_of_field() -> None:
    changed = CONFIG.changed(
        [
            "optimizer.steps=3",
            "optimizer.decay=poly",
            "optimizer.betas=[0.8, 0.9]",
            "data.volumes.crop=[32, 32, 32]",
            "data.volumes.variation.mirror=1",
            "preprocessing.padding=minimum",
            "report=null",
            "bf16=true",
        ]
    )
    assert (changed.optimizer.steps, changed.optimizer.decay, changed.optimizer.betas) == (3, "poly", (0.8, 0.9))
    assert (changed.data.volumes.crop, changed.data.volumes.variation.mirror) == ((32, 32, 32), 1.0)
    assert (changed.preprocessing.padding, changed.report, changed.bf16) == ("minimum", None, True)
    assert CONFIG.optimizer.steps == 6


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.stepz=3", r'got "optimizer.stepz=3". Fields there: .*steps'),
        ("optimizer.steps", r'such as "optimizer.steps=2000"'),
        ("nothing.at.all=1", "Fields there"),
        ("optimizer.steps=many", "optimizer.steps must be int, got 'many'"),
        ("optimizer.steps=2.5", "optimizer.steps must be int, got 2.5"),
        ("seed=true", "seed must be int, got True"),
        ("optimizer.decay=linear", "optimizer.decay must be 'cosine' or 'poly', got 'linear'"),
        ("data.volumes.crop=[32,32]", "data.volumes.crop must have 3 values"),
        ("optimizer=5", "optimizer must be a JSON object, got 5"),
        ("model.image.width=50", "must be a multiple of 6"),
        ("reconstruction.mask_ratio=1", "between 0 and 1"),
    ],
)
def test_what_is_wrong_is_named(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CONFIG.changed([setting])


def test_a_document_of_another_version_is_refused() -> None:
    document = CONFIG.to_json()
    data = {name: value for name, value in document["data"].items() if name != "tokens"}
    with pytest.raises(ValueError, match=r"data has wrong fields: missing \['tokens'\], unknown \['words'\]"):
        PretrainConfig.from_json({**document, "data": {**data, "words": 1}})
