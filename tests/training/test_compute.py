"""How a step is computed does not change it: compiled, checkpointed, in parts, in bfloat16, and all of it at once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from colipri_training.config import ComputeConfig
from colipri_training.config import PretrainConfig
from colipri_training.data.batches import BatchMaker
from colipri_training.data.text import SentenceBank
from colipri_training.network import PretrainNetwork
from colipri_training.network import objectives_of
from colipri_training.network import prepare_for
from colipri_training.objectives.cached import backward
from colipri_training.run import Run
from colipri_training.trainer import Trainer

RECIPE = "smoke-crm-opposite"
STEPS = 3
PLAIN = ComputeConfig()


def config_of(folder: Path, compute: ComputeConfig, *, bf16: bool = False) -> PretrainConfig:
    config = Run(RECIPE, folder).config
    return dataclasses.replace(
        config,
        compute=compute,
        bf16=bf16,
        data=dataclasses.replace(config.data, batch_size=4, unpaired=4),
        optimizer=dataclasses.replace(config.optimizer, steps=STEPS, matrix_learning_rate=0.0, learning_rate=3e-4),
        checkpoint_every=100,
    )


def losses(folder: Path, target: Path, compute: ComputeConfig, *, bf16: bool = False) -> list[dict[str, float]]:
    """Train a few steps and return what was logged of each."""
    run, config = Run(RECIPE, folder), config_of(folder, compute, bf16=bf16)
    maker = BatchMaker(run.store, config, SentenceBank.from_store(run.store, range(4)), run.tokenize)
    Trainer(config, maker, target).run()
    names = ("contrastive", "opposite", "report", "reconstruction")
    records = [json.loads(line) for line in (target / "log.jsonl").read_text().splitlines()]
    return [{name: record[name] for name in names} for record in records]


def largest_difference(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    assert len(one) == len(other) == STEPS
    return max(abs(a[name] - b[name]) for a, b in zip(one, other, strict=True) for name in a)


@pytest.fixture(scope="module")
def plain(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """Losses of a run that is computed in the plainest way."""
    return losses(run_folder, tmp_path_factory.mktemp("plain"), PLAIN)


@pytest.mark.parametrize(
    "compute",
    [
        ComputeConfig(activation_checkpointing=True),
        ComputeConfig(micro_batch=1),
        ComputeConfig(micro_batch=3, activation_checkpointing=True),
    ],
    ids=["checkpointing", "in-parts", "both"],
)
def test_a_run_has_the_losses_of_the_plain_one(
    run_folder: Path, tmp_path: Path, compute: ComputeConfig, plain: list[dict[str, float]]
) -> None:
    assert largest_difference(losses(run_folder, tmp_path / "other", compute), plain) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_run_has_the_losses_of_the_plain_one(
    run_folder: Path, tmp_path: Path, plain: list[dict[str, float]]
) -> None:
    """Compiled for real, and in parts with checkpointing too, which is how the published size is meant to run."""
    torch.compiler.reset()
    compiled = losses(run_folder, tmp_path / "compiled", ComputeConfig(compile=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert largest_difference(compiled, plain) < 1e-4
    everything = ComputeConfig(compile=True, activation_checkpointing=True, micro_batch=2)
    assert largest_difference(losses(run_folder, tmp_path / "all", everything), plain) < 1e-4


def gradient(folder: Path, compute: ComputeConfig, parts: int, *, bf16: bool) -> torch.Tensor:
    run, config = Run(RECIPE, folder), config_of(folder, compute)
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, reconstruction=0.0))
    maker = BatchMaker(run.store, config, SentenceBank.from_store(run.store, range(4)), run.tokenize)
    torch.manual_seed(0)
    network = PretrainNetwork(config).train()
    prepare_for(network, compute)

    def autocast() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=bf16)

    backward(network, objectives_of(config.loss), maker(0), parts=parts, autocast=autocast)
    return torch.cat([value.grad.flatten() for value in network.parameters() if value.grad is not None])


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


class TestBfloat16:
    def test_gradients_stay_in_full_precision_and_losses_near(
        self, run_folder: Path, tmp_path: Path, plain: list[dict[str, float]]
    ) -> None:
        half = losses(run_folder, tmp_path / "half", PLAIN, bf16=True)
        assert 0 < largest_difference(half, plain) < 0.05
        assert gradient(run_folder, PLAIN, 1, bf16=True).dtype == torch.float32

    def test_checkpointing_gives_the_same_bits(self, run_folder: Path) -> None:
        thrifty = ComputeConfig(activation_checkpointing=True)
        expected = gradient(run_folder, PLAIN, 1, bf16=True)
        assert relative(gradient(run_folder, thrifty, 1, bf16=True), expected) < 1e-6

    def test_parts_differ_by_no_more_than_rounding(self, run_folder: Path) -> None:
        exact = gradient(run_folder, PLAIN, 1, bf16=False)
        whole, parts = (gradient(run_folder, PLAIN, number, bf16=True) for number in (1, 2))
        rounding = relative(whole, exact)
        assert 0 < rounding < 0.1
        assert relative(parts, whole) < max(rounding, 0.01)
