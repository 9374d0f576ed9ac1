"""One process and two give the same run; a run that is killed goes on as if it had not been."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killed import kill_after

from colipri_core.errors import Cancelled
from colipri_training import distributed
from colipri_training.checkpoints import Checkpoints
from colipri_training.config import OptimizerConfig
from colipri_training.config import PretrainConfig
from colipri_training.data.batch import Batch
from colipri_training.data.batches import BatchMaker
from colipri_training.data.batches import own_part
from colipri_training.data.text import SentenceBank
from colipri_training.recipes.registry import RECIPES
from colipri_training.run import Run
from colipri_training.trainer import Trainer

logger = logging.getLogger(__name__)

SMOKE = sorted(name for name in RECIPES if name.startswith("smoke"))
FAST = ("smoke", "smoke-crm-opposite")
STEPS = 20
KILLED = "smoke-crm-opposite"


def copy_of(folder: Path, target: Path, recipe: str) -> Run:
    shutil.copytree(folder, target)
    return Run(recipe, target)


def losses(folder: Path, names: set[str]) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: record[name] for name in names} for record in records]


class TestProcesses:
    @pytest.mark.parametrize(
        "recipe", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SMOKE]
    )
    def test_two_give_the_losses_of_one(self, run_folder: Path, tmp_path: Path, in_processes: Any, recipe: str) -> None:
        """Same global batch, every loss within 1e-5 at every one of 20 steps.

        With AdamW alone: Muon works in bfloat16, which turns the last bit of a gradient into half a percent of a step.
        """
        run = Run(recipe, run_folder)
        optimizer = OptimizerConfig(steps=STEPS, learning_rate=3e-4)
        config = dataclasses.replace(
            run.config,
            optimizer=optimizer,
            data=dataclasses.replace(run.config.data, batch_size=4),
            checkpoint_every=STEPS,
        )
        batches = made_batches(run, config)
        for size in (1, 2):

            def work(folder: Path = tmp_path / str(size)) -> None:
                Trainer(config, own_part(batches), folder).run()

            in_processes(work, size)
        names = {objective for objective in dataclasses.asdict(config.loss) if getattr(config.loss, objective)}
        names = (names - {"temperature"}) | {"loss"}
        one, two = (losses(tmp_path / str(size), names) for size in (1, 2))
        assert len(one) == len(two) == STEPS
        worst = max(abs(a[name] - b[name]) for a, b in zip(one, two, strict=True) for name in names)
        logger.info("%s: largest difference %.1e", recipe, worst)
        assert worst < 1e-5
        assert min(record["loss"] for record in one) < one[0]["loss"]

    @pytest.mark.parametrize("sharded", [False, True])
    @pytest.mark.parametrize("recipe", ["smoke-cm", "smoke-cr"])
    def test_an_objective_may_be_left_out(
        self, run_folder: Path, tmp_path: Path, in_processes: Any, recipe: str, sharded: bool
    ) -> None:
        """The text encoder then has no gradient; a checkpoint of one process is gone on with by two."""
        run = Run(recipe, run_folder)
        config = dataclasses.replace(
            run.config,
            data=dataclasses.replace(run.config.data, batch_size=4),
            loss=dataclasses.replace(run.config.loss, contrastive=0.0),
            optimizer=OptimizerConfig(steps=4, learning_rate=3e-4),
            compute=dataclasses.replace(run.config.compute, sharded=sharded),
            whiten=False,
            checkpoint_every=2,
        )
        batches = made_batches(run, config)

        def begin(folder: Path) -> Trainer:
            trainer = Trainer(config, own_part(batches), folder)
            trainer.resume()
            return trainer

        def half(folder: Path = tmp_path / "other") -> None:
            trainer = begin(folder)
            while trainer.step < 2:
                trainer._one_step()

        in_processes(lambda: begin(tmp_path / "one").run(), 1 if not sharded else 2)
        in_processes(half, 1 if not sharded else 2)
        in_processes(lambda: begin(tmp_path / "other").run(), 2)
        one, two = (losses(tmp_path / name, {"loss"}) for name in ("one", "other"))
        assert len(one) == len(two) == 4
        assert max(abs(a["loss"] - b["loss"]) for a, b in zip(one, two, strict=True)) < 1e-5

    def test_no_two_steps_processes_or_parts_share_a_stream_of_dropout(
        self, run_folder: Path, tmp_path: Path, in_processes: Any
    ) -> None:
        run = Run("smoke-crm-opposite", run_folder)
        config = dataclasses.replace(
            run.config,
            data=dataclasses.replace(run.config.data, batch_size=4),
            compute=dataclasses.replace(run.config.compute, micro_batch=1),
        )
        batches = made_batches(run, config)

        def work() -> None:
            trainer = Trainer(dataclasses.replace(config, whiten=False), own_part(batches), tmp_path)
            drawn: list[torch.Tensor] = []
            trainer.network.register_forward_pre_hook(lambda *_: drawn.append(torch.rand(4)))
            for _ in range(2):
                trainer._one_step()
            torch.save(torch.stack(drawn), tmp_path / f"{trainer.world.rank}.pt")

        in_processes(work, 2)
        drawn = torch.stack([torch.load(tmp_path / f"{rank}.pt") for rank in range(2)])
        first, second = drawn.unflatten(1, (2, 2, 2)).unbind(2)  # processes, steps, passes, parts
        assert torch.equal(first, second)
        assert len(first.flatten(0, 2).unique(dim=0)) == 2 * 2 * 2

    def test_mean_is_over_all_and_not_of_means(self, tmp_path: Path, in_processes: Any) -> None:
        def work() -> None:
            here = distributed.world(torch.device("cpu"))
            total, count = ((6.0, 3), (10.0, 1))[here.rank]
            share = distributed.global_mean(torch.tensor(total), count)
            mean = distributed.mean_over_processes(share)
            (tmp_path / f"mean-{here.rank}").write_text(str(mean.item()))

        in_processes(work, 2)
        assert [(tmp_path / f"mean-{rank}").read_text() for rank in range(2)] == ["4.0", "4.0"]

    def test_a_batch_that_does_not_divide_is_refused(self, run_folder: Path, monkeypatch: Any, tmp_path: Path) -> None:
        world = distributed.World(device=torch.device("cpu"), size=3)
        monkeypatch.setattr("colipri_training.trainer.world", lambda: world)
        with pytest.raises(ValueError, match=r"batch_size must be a multiple .*3"):
            Trainer(Run("smoke", run_folder).config, lambda step: step, tmp_path)


class TestShards:
    def config(self, folder: Path, *, sharded: bool, parts: int = 1) -> PretrainConfig:
        config = Run(KILLED, folder).config
        return dataclasses.replace(
            config,
            optimizer=dataclasses.replace(config.optimizer, matrix_learning_rate=0.0),
            data=dataclasses.replace(config.data, batch_size=4),
            compute=dataclasses.replace(config.compute, sharded=sharded, micro_batch=2 // parts),
            whiten=False,
            sentence_steps=0,
        )

    def test_two_shards_give_the_losses_of_one_process_also_after_a_stop(
        self, run_folder: Path, tmp_path: Path, in_processes: Any
    ) -> None:
        run = Run(KILLED, run_folder)
        batches = made_batches(run, self.config(run_folder, sharded=False))

        def alone() -> None:
            Trainer(self.config(run_folder, sharded=False), batches, tmp_path / "one").run()

        def together() -> None:
            config = self.config(run_folder, sharded=True, parts=2)
            first = Trainer(config, own_part(batches), tmp_path / "two")
            for _ in range(4):
                first._one_step()
            second = Trainer(config, own_part(batches), tmp_path / "two")
            assert second.resume()
            assert second.step == 4
            second.run()

        in_processes(alone, 1)
        in_processes(together, 2)
        one, two = (
            losses(tmp_path / name, {"contrastive", "report", "reconstruction", "loss"}) for name in ("one", "two")
        )
        assert len(one) == len(two) == 6
        assert max(abs(a[name] - b[name]) for a, b in zip(one, two, strict=True) for name in a) < 1e-5
        weights = Checkpoints(tmp_path / "two" / "checkpoints").load()
        assert weights is not None
        Trainer(self.config(run_folder, sharded=False), batches, tmp_path / "x").network.load_state_dict(
            weights["network"]
        )

    def test_what_needs_whole_matrices_is_refused(self, run_folder: Path, tmp_path: Path) -> None:
        config = dataclasses.replace(self.config(run_folder, sharded=True), whiten=True)
        with pytest.raises(ValueError, match="whole matrices"):
            Trainer(config, lambda step: step, tmp_path)


class TestKill:
    def test_killed_at_random_moments_ends_in_the_same_bits(self, run_folder: Path, tmp_path: Path) -> None:
        run = Run(KILLED, run_folder)
        batches = made_batches(run, run.config)

        def train(folder: Path) -> None:
            trainer = Trainer(run.config, batches, folder)
            trainer.resume()
            trainer.run()

        straight, killed = tmp_path / "straight", tmp_path / "killed"
        train(straight)
        source = random.Random(os.urandom(4))
        for records in (1, 3, 5):
            kill_after(train, killed, records, delay=source.uniform(0, 0.5))
        train(killed)
        expected, found = (Checkpoints(folder / "checkpoints").load() for folder in (straight, killed))
        assert expected is not None
        assert found is not None
        assert found["step"] == 6
        for part in ("network", "averaged"):
            assert all(torch.equal(value, found[part][name]) for name, value in expected[part].items())
        steps = [json.loads(line)["step"] for line in (killed / "log.jsonl").read_text().splitlines()]
        assert steps == [1, 2, 3, 4, 5, 6]

    def test_sigterm_saves_and_stops(self, run_folder: Path, tmp_path: Path) -> None:
        run = Run("smoke", run_folder)
        made = made_batches(run, run.config)

        def batches(step: int) -> Batch:
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return made(step)

        with pytest.raises(Cancelled, match="after step 3 of 6"):
            Trainer(dataclasses.replace(run.config, whiten=False), batches, tmp_path).run()
        state = Checkpoints(tmp_path / "checkpoints").load()
        assert state is not None
        assert state["step"] == 3
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def test_a_checkpoint_cut_in_half_costs_only_its_steps(self, run_folder: Path, tmp_path: Path) -> None:
        run = copy_of(run_folder, tmp_path / "run", KILLED)
        run.trainer().run()
        newest = run.folder / "checkpoints" / "step-00000006.pt"
        expected = run.trainer().network.state_dict()
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        again = run.trainer()
        assert again.step == 4
        again.run()
        assert all(torch.equal(value, again.network.state_dict()[name]) for name, value in expected.items())


class TestGuards:
    def test_a_loss_that_is_not_finite_ends_the_run(self, run_folder: Path, tmp_path: Path) -> None:
        trainer = copy_of(run_folder, tmp_path / "run", "smoke").trainer()
        batch = trainer._batches(0)
        with pytest.raises(FloatingPointError, match="last checkpoint"):
            trainer._train_step(dataclasses.replace(batch, images=batch.images * torch.nan))

    def test_a_gradient_that_is_not_finite_changes_nothing_and_ends_the_run_in_a_row(
        self, run_folder: Path, tmp_path: Path
    ) -> None:
        trainer = copy_of(run_folder, tmp_path / "run", "smoke").trainer()
        trainer.network.log_scale.register_hook(lambda gradient: gradient * torch.inf)
        before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
        batch = trainer._batches(0)
        trainer._train_step(batch)
        assert all(torch.equal(value, before[name]) for name, value in trainer.network.state_dict().items())
        trainer._guard.skipped = 10
        with pytest.raises(FloatingPointError, match="11 times in a row"):
            trainer._train_step(batch)


def made_batches(run: Run, config: PretrainConfig) -> Callable[[int], Batch]:
    """All batches of a run, made beforehand: the threads that unpack cases do not survive a fork."""
    maker = BatchMaker(run.store, config, SentenceBank.from_store(run.store, range(4)), run.tokenize)
    return [maker(step) for step in range(max(config.optimizer.steps, 8))].__getitem__
