"""The variants have the objectives their letters say, and the published size is the published size."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from colipri_training.config import ComputeConfig
from colipri_training.network import PretrainNetwork
from colipri_training.network import objectives_of
from colipri_training.recipes.registry import RECIPES

NAMES = {"c": "contrastive", "m": "reconstruction", "r": "report"}


@pytest.mark.parametrize("base", ["smoke", "tiny", "colipri"])
@pytest.mark.parametrize("letters", ["c", "cm", "cr", "crm"])
@pytest.mark.parametrize("opposite", [False, True])
def test_letters_and_objectives(base: str, letters: str, opposite: bool) -> None:
    name = f"{base}-{letters}" + "-opposite" * opposite
    config = RECIPES[name](vocab_size=100)
    assert config.name == name
    expected = {NAMES[letter] for letter in letters} | ({"opposite"} if opposite else set())
    assert {objective.name for _, objective in objectives_of(config.loss)} == expected
    assert (config.data.unpaired > 0) <= ("m" in letters)


@pytest.mark.parametrize("base", ["smoke", "tiny", "colipri"])
def test_a_variant_differs_from_its_opposite_in_that_objective_alone(base: str) -> None:
    plain, opposite = (RECIPES[f"{base}-{name}"](vocab_size=100) for name in ("crm", "crm-opposite"))
    assert plain.sentence_steps == opposite.sentence_steps == 0
    same = dataclasses.replace(opposite, name=plain.name, loss=dataclasses.replace(opposite.loss, opposite=0.0))
    assert same == plain


def test_a_text_encoder_that_learns_alone_learns_at_the_full_rate() -> None:
    assert RECIPES["tiny"](vocab_size=100).optimizer.text_share < 1
    assert RECIPES["tiny-c"](vocab_size=100).optimizer.text_share == 1
    assert RECIPES["colipri-c"](vocab_size=100).optimizer.text_share == 0.1


def test_the_shipped_run_ends_on_whole_volumes_with_the_trunk_as_it_is() -> None:
    masked, whole = (RECIPES[name](vocab_size=100) for name in ("tiny", "tiny-whole"))
    assert whole.model == masked.model
    assert masked.data.tokens < whole.data.tokens == 12**3
    trained = {name for name, value in PretrainNetwork(whole).named_parameters() if value.requires_grad}
    recall = {f"colipri.image_encoder.backbone.down_projection.stem.recall.{name}" for name in ("weight", "bias")}
    assert {name for name in trained if ".image_encoder.backbone." in name} == recall


def test_checkpoints_do_not_depend_on_how_a_step_is_computed() -> None:
    one, other = (RECIPES[name](vocab_size=100) for name in ("smoke-c", "smoke-crm"))
    assert one.identity() != other.identity()
    assert one.identity() == dataclasses.replace(one, compute=ComputeConfig(micro_batch=1)).identity()
    elsewhere = dataclasses.replace(one.data, sources=("/elsewhere",))
    assert one.identity() == dataclasses.replace(one, data=elsewhere).identity()


def test_published_size() -> None:
    with torch.device("meta"):
        network = PretrainNetwork(RECIPES["colipri-crm-opposite"](vocab_size=30522))
    sizes = [sum(v.numel() for v in part.parameters()) for part in (network.colipri, network.report)]
    assert sizes[0] == 258_366_240
    assert 50_000_000 < sizes[1] < 120_000_000
