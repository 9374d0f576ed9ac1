"""The gradient cache gives the gradient of the whole batch, alone and in two processes."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from colipri_training.config import PretrainConfig
from colipri_training.data.batch import Batch
from colipri_training.data.batches import BatchMaker
from colipri_training.data.text import SentenceBank
from colipri_training.distributed import World
from colipri_training.network import PretrainNetwork
from colipri_training.network import objectives_of
from colipri_training.network import prepare_for
from colipri_training.objectives.cached import backward
from colipri_training.objectives.cached import losses_of
from colipri_training.objectives.outputs import join
from colipri_training.objectives.reconstruction import hide
from colipri_training.run import Run
from colipri_training.seeds import mixed

VOLUMES = 4
WEIGHTS = ("contrastive", "opposite", "region", "attention", "distinct", "report", "reconstruction")


def with_everything(folder: Path, *, dropout: float = 0.0) -> PretrainConfig:
    """The smoke recipe with all six objectives, and volumes without report."""
    config = Run("smoke", folder).config
    assert config.report is not None
    text = dataclasses.replace(config.model.text, dropout=dropout)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, text=text),
        report=dataclasses.replace(config.report, dropout=dropout),
        loss=dataclasses.replace(config.loss, report=0.7, reconstruction=0.9),
        data=dataclasses.replace(config.data, batch_size=VOLUMES, unpaired=2),
    )


def make_batch(folder: Path, config: PretrainConfig) -> Batch:
    run = Run("smoke", folder)
    bank = SentenceBank.from_store(run.store, range(4))
    batch = BatchMaker(run.store, config, bank, run.tokenize)(0)
    assert config.reconstruction is not None
    return hide(batch, config.reconstruction, 8, seed=3, world=World(device=torch.device("cpu")))


def fresh(config: PretrainConfig) -> PretrainNetwork:
    torch.manual_seed(0)
    return PretrainNetwork(config).train()


def gradient(network: PretrainNetwork) -> torch.Tensor:
    parts = []
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        parts.append(value.grad.flatten())
    return torch.cat(parts)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


class TestOneProcess:
    @pytest.mark.parametrize("parts", [2, 3, 4])
    def test_gradient_and_losses_equal_the_plain_ones(self, run_folder: Path, parts: int) -> None:
        config = with_everything(run_folder)
        batch, objectives = make_batch(run_folder, config), objectives_of(config.loss)
        plain, cached = fresh(config), fresh(config)
        expected = backward(plain, objectives, batch)
        found = backward(cached, objectives, batch, parts=parts)
        assert len(expected) == len(objectives) == 7
        assert all(abs(found[name] - expected[name]) < 1e-5 * abs(expected[name]) + 1e-6 for name in expected)
        assert relative(gradient(cached), gradient(plain)) < 1e-5

    def test_dropout_is_the_same_in_both_passes(self, run_folder: Path) -> None:
        config = with_everything(run_folder, dropout=0.3)
        batch, objectives = make_batch(run_folder, config), objectives_of(config.loss)
        whole, cached = fresh(config), fresh(config)
        encoded = []
        for index in range(2):
            torch.manual_seed(mixed(5, index))
            encoded.append(whole(batch.part(index, 2, sentences=index == 1)))
        torch.stack(list(losses_of(objectives, batch, join(encoded)).values())).sum().backward()
        backward(cached, objectives, batch, parts=2, seed=5)
        assert relative(gradient(cached), gradient(whole)) < 1e-5

    def test_checkpointing_changes_nothing(self, run_folder: Path) -> None:
        config = with_everything(run_folder)
        batch, objectives = make_batch(run_folder, config), objectives_of(config.loss)
        plain, thrifty = fresh(config), fresh(config)
        prepare_for(thrifty, dataclasses.replace(config.compute, activation_checkpointing=True))
        backward(plain, objectives, batch)
        backward(thrifty, objectives, batch)
        assert relative(gradient(thrifty), gradient(plain)) < 1e-6

    @pytest.mark.slow
    def test_compilation_changes_nothing(self, run_folder: Path) -> None:
        config = with_everything(run_folder)
        batch, objectives = make_batch(run_folder, config), objectives_of(config.loss)
        plain, compiled = fresh(config), fresh(config)
        prepare_for(compiled, dataclasses.replace(config.compute, compile=True))
        backward(plain, objectives, batch)
        backward(compiled, objectives, batch)
        assert relative(gradient(compiled), gradient(plain)) < 1e-5

    def test_pairs_of_a_group_are_no_negatives(self, run_folder: Path) -> None:
        config = with_everything(run_folder)
        batch, objectives = make_batch(run_folder, config), objectives_of(config.loss)[:1]
        encoded = fresh(config).eval()(batch)
        logits = encoded.scale * encoded.image @ encoded.report.T
        same = torch.tensor([7, 8, 7, 9])
        grouped = losses_of(objectives, dataclasses.replace(batch, groups=same), encoded)["contrastive"]
        logits[0, 2] = logits[2, 0] = -torch.inf
        expected = -(logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()).mean() / 2
        torch.testing.assert_close(grouped, config.loss.contrastive * expected)


class TestUnreached:
    """What no objective looks at never has a gradient, and what one does has one."""

    @pytest.mark.parametrize("number", [1, 2])
    def test_is_what_has_no_gradient(self, run_folder: Path, number: int) -> None:
        base = with_everything(run_folder)
        batch = make_batch(run_folder, base)
        for names in itertools.combinations(WEIGHTS, number):
            loss = dataclasses.replace(base.loss, **{name: float(name in names) for name in WEIGHTS})
            network = fresh(dataclasses.replace(base, loss=loss))
            backward(network, network.objectives, batch)
            without = {name for name, value in network.named_parameters() if value.grad is None}
            unreached = set(map(id, network.unreached()))
            assert without == {name for name, value in network.named_parameters() if id(value) in unreached}, names


class TestTwoProcesses:
    @pytest.mark.parametrize("parts", [1, 2])
    def test_gradient_and_losses_equal_those_of_one(
        self, run_folder: Path, tmp_path: Path, in_processes: Any, parts: int
    ) -> None:
        config = with_everything(run_folder)
        batch, objectives = make_batch(run_folder, config), objectives_of(config.loss)
        alone = fresh(config)
        expected = backward(alone, objectives, batch)

        def work() -> None:
            network, rank = fresh(config), dist.get_rank()
            own = batch.part(rank, 2)
            parallel = DistributedDataParallel(network, broadcast_buffers=False)
            losses = backward(parallel, objectives, own, parts=parts)
            torch.save((gradient(network), losses), tmp_path / f"{rank}.pt")

        in_processes(work, 2)
        (first, losses_0), (second, losses_1) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
        assert torch.equal(first, second)
        assert relative(first, gradient(alone)) < 1e-5
        for name, value in expected.items():
            assert abs((losses_0[name] + losses_1[name]) / 2 - value) < 1e-5 * abs(value) + 1e-6, name
