"""Configs as JSON and settings on the command line: what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
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


def recipe_on_data(name: str) -> RunConfig:
    config: Any = RECIPES[name](vocab_size=100)
    return config.changed(['data.sources=["somewhere"]'])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("validate_every=0", "validate_every must be at least 1, got 0"),
        ("checkpoint_every=0", "checkpoint_every must be at least 1, got 0"),
        ("seed=-1", "seed must be at least 0, got -1"),
        ("data.max_report_length=1000", "data.max_report_length must be at most model.text.max_length, 192, got 1000"),
        ("data.max_report_length=1", "data: max_report_length must be at least 2, got 1"),
        ("model.text.max_length=10", "data.max_report_length must be at most model.text.max_length, 10, got 192"),
        ("model.text.vocab_size=10", "vocab_size must be at least the 100 word pieces of the tokenizer .*got 10"),
        ("report.vocab_size=10", "vocab_size must be at least the 100 word pieces of the tokenizer .*got 10"),
        ("report.memory_width=12", "report.memory_width must be model.image.width, 48, got 12"),
        ("data.volumes.crop=[20,20,20]", r"data.volumes.crop must be multiples of the patch size, 8, got \(20, 20"),
        ("preprocessing.size=[50,48,48]", r"preprocessing.size must be multiples of the patch size, 8, got \(50, 48"),
        ("model.image.patch_size=7", "must be multiples of the patch size, 7"),
        ("data.batch_size=0", "data: batch_size must be at least 1, got 0"),
        ("data.tokens=0", "data: tokens must be at least 1, got 0"),
        ("data.volumes.statements=0", "data.volumes.statements must be at least 1 for loss.opposite, got 0"),
        ("data.volumes.statements=-1", "data.volumes: statements must be at least 0, got -1"),
        ("data.volumes.variation.scale=0", "data.volumes.variation: scale must be at least 1, got 0"),
        ("loss.temperature=0", "loss: temperature must be above 0, and finite, got 0.0"),
        ("loss.contrastive=NaN", "loss: contrastive must be at least 0, got nan"),
        ("compute.micro_batch=-1", "compute: micro_batch must be at least 0, got -1"),
        ("reconstruction.mask_ratio=0.0001", "reconstruction.mask_ratio must be a share of 216 tokens that hides one"),
        ("optimizer.gradient_clip=0", "optimizer: gradient_clip must be above 0, got 0.0"),
        ("optimizer.gradient_clip=NaN", "optimizer: gradient_clip must be above 0, got nan"),
        ("optimizer.steps=-1", "optimizer: steps must be at least 0, got -1"),
        ("optimizer.average=2", "optimizer: average must be between 0 and 1, got 2.0"),
        ("model.image.drop_path=1", "model.image.drop_path must be at least 0 and below 1, got 1.0"),
    ],
)
def test_a_field_that_would_fail_in_training_is_named_before_it(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe_on_data("smoke-crm-opposite").changed([setting])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "data.crop=[30,32,32]",
            r"data.crop must be multiples of the encoder's deepest stride, 16, got \(30",
        ),
        ("fusion.heads=5", "fusion.heads must be a divisor of the encoder's 32 deepest channels, got 5"),
        ("fusion.pooled=0", "fusion: pooled must be at least 1, got 0"),
        ("fusion.decoder=0", "fusion: decoder must be at least 1, got 0"),
        ("fusion.decoder=12", "fusion.decoder must be multiples of groups of channels, 8, got"),
        ("data.sentences=0", "data.sentences must be at least 1, got 0"),
        ("data.max_report_length=500", "data.max_report_length must be at most text.max_length, 192, got 500"),
        ("data.corruption.shuffle_edges=[0]", r"shuffle_edges must be one or more edges from 1 to 32, .* got \(0,\)"),
        ("data.corruption.shuffle_edges=[8,100]", r"shuffle_edges must be one or more edges .* got \(8, 100\)"),
        ("data.corruption.boxes=0", "data.corruption: boxes must be at least 1, got 0"),
        ("loss.temperature=0", "loss: temperature must be above 0, and finite, got 0.0"),
        ("text.vocab_size=10", "vocab_size must be at least the 100 word pieces of the tokenizer .*got 10"),
    ],
)
def test_the_same_of_t3d(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe_on_data("t3d_smoke_views").changed([setting])


def test_null_is_a_word_where_it_is_one_of_the_choices() -> None:
    config: Any = RECIPES["t3d_smoke"](vocab_size=100)
    assert config.changed(["conditioning=null"]).conditioning == "null"
    with pytest.raises(ValueError, match="negatives must be 'same_report' or 'own_report', got None"):
        config.changed(["negatives=null"])


@pytest.mark.parametrize(
    ("recipe", "setting"),
    [
        ("smoke", "data.volumes.statements=0"),
        ("smoke-c", "reconstruction.mask_ratio=0.0001"),
        ("smoke-c", "report.memory_width=10"),
        ("smoke-c", "data.max_sentence_length=500"),
        ("smoke-cm", "optimizer.gradient_clip=Infinity"),
        ("t3d_smoke", "data.sentences=0"),
        ("t3d_smoke_contrast", "fusion.decoder=12"),
        ("t3d_smoke_masked", "data.corruption.shuffle_edges=[100]"),
        ("t3d_smoke_textfree", "data.max_report_length=500"),
    ],
)
def test_what_a_run_does_not_use_may_be_anything(recipe: str, setting: str) -> None:
    """Runs that were made with it must still be read."""
    config: Any = RECIPES[recipe](vocab_size=100).changed([setting])
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_document_of_another_version_is_refused() -> None:
    document = CONFIG.to_json()
    data = {name: value for name, value in document["data"].items() if name != "tokens"}
    with pytest.raises(ValueError, match=r"data has wrong fields: missing \['tokens'\], unknown \['words'\]"):
        PretrainConfig.from_json({**document, "data": {**data, "words": 1}})
