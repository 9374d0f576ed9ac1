"""The learned temperature stays within its bound, and comes away from it again."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from colipri_training.config import PretrainConfig
from colipri_training.data.batch import Batch
from colipri_training.data.batches import BatchMaker
from colipri_training.data.batches import own_part
from colipri_training.data.text import SentenceBank
from colipri_training.network import scale_of
from colipri_training.run import Run
from colipri_training.sharding import whole
from colipri_training.trainer import Trainer


def run_at(folder: Path, temperature: float) -> tuple[PretrainConfig, Callable[[int], Batch]]:
    """A contrastive run from some temperature, at a rate that moves it, and its batches, made beforehand."""
    run = Run("smoke-c", folder)
    config = dataclasses.replace(
        run.config,
        data=dataclasses.replace(run.config.data, batch_size=4),
        loss=dataclasses.replace(run.config.loss, temperature=temperature),
        optimizer=dataclasses.replace(
            run.config.optimizer, steps=8, learning_rate=0.01, warmup=0.0, matrix_learning_rate=0.0
        ),
        whiten=False,
        checkpoint_every=100,
    )
    maker = BatchMaker(run.store, config, SentenceBank.from_store(run.store, range(4)), run.tokenize)
    return config, [maker(step) for step in range(8)].__getitem__


@pytest.mark.parametrize("temperature", [0.0101, 0.01, 0.002])
def test_a_run_comes_away_from_the_bound(run_folder: Path, tmp_path: Path, temperature: float) -> None:
    config, batches = run_at(run_folder, temperature)
    Trainer(config, batches, tmp_path).run()
    scales = [json.loads(line)["scale"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert max(scales) <= 100
    assert scales[-1] < 97


@pytest.mark.parametrize("processes", [1, 2])
def test_an_update_leads_no_further_than_the_bound(
    run_folder: Path, tmp_path: Path, in_processes: Any, processes: int
) -> None:
    """Also where the weights are shards."""
    config, batches = run_at(run_folder, 0.0101)
    config = dataclasses.replace(config, compute=dataclasses.replace(config.compute, sharded=processes > 1))

    def work() -> None:
        trainer = Trainer(config, own_part(batches), tmp_path)
        with torch.no_grad():
            trainer.network.log_scale.fill_(4.8)
        trainer._one_step()
        assert whole(trainer.network.log_scale).item() == pytest.approx(math.log(100), abs=1e-6)
        assert trainer._scale() <= 100

    in_processes(work, processes)


def test_at_and_beyond_the_bound_the_gradient_is_that_of_the_exponential() -> None:
    for value in (math.log(14), math.log(100), 4.7):
        log_scale = torch.tensor([value], requires_grad=True)
        scale = scale_of(log_scale)
        scale.backward()
        assert scale.shape == ()
        assert scale.item() == pytest.approx(min(math.exp(value), 100))
        assert scale <= 100
        assert log_scale.grad is not None
        assert log_scale.grad.item() == pytest.approx(math.exp(value), rel=1e-5)
