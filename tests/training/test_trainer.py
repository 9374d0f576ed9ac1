"""Runs: they learn, they go on bit for bit after a stop, and they export a bundle an engine opens."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

import colipri_core as cc
from colipri_training.checkpoints import Checkpoints
from colipri_training.config import RunOptions
from colipri_training.export import export
from colipri_training.optimizers import make_optimizers
from colipri_training.optimizers import schedule
from colipri_training.run import Run


def copy_of(folder: Path, target: Path) -> Run:
    shutil.copytree(folder, target)
    return Run("smoke", target)


def train(run: Run, until: int) -> dict[str, torch.Tensor]:
    trainer = run.trainer()
    while trainer.step < until:
        trainer._train_step(trainer._batches(trainer.step))
        trainer.step += 1
    trainer.save()
    return dict(trainer.model.state_dict())


class TestResume:
    def test_stopped_and_resumed_equals_straight_through(self, run_folder: Path, tmp_path: Path) -> None:
        straight = train(copy_of(run_folder, tmp_path / "straight"), 4)
        stopped = copy_of(run_folder, tmp_path / "stopped")
        train(stopped, 2)
        resumed = train(stopped, 4)
        assert all(torch.equal(straight[name], resumed[name]) for name in straight)

    def test_another_config_is_refused(self, run_folder: Path, tmp_path: Path) -> None:
        run = copy_of(run_folder, tmp_path / "run")
        train(run, 1)
        vocabulary = run.folder / "tokenizer" / "vocab.txt"
        vocabulary.write_text(vocabulary.read_text() + "extra\n")
        before = (run.folder / "config.json").read_text()
        with pytest.raises(ValueError, match=r"another config .*model.text.vocab_size: [0-9]+, now [0-9]+"):
            Run("smoke", run.folder).trainer()
        assert (run.folder / "config.json").read_text() == before

    def test_how_often_it_saves_and_validates_is_free_and_changes_no_weight(
        self, run_folder: Path, tmp_path: Path
    ) -> None:
        straight, often = copy_of(run_folder, tmp_path / "straight"), copy_of(run_folder, tmp_path / "often")
        straight.trainer().run()
        first = often.trainer()
        first._begin()
        first._one_step()
        first._one_step()
        first.save()
        settings = ("validate_every=1", "checkpoint_every=1")
        Run("smoke", often.folder, RunOptions(settings=settings)).trainer().run()
        expected, found = (Checkpoints(run.folder / "checkpoints").load() for run in (straight, often))
        assert expected is not None
        assert found is not None
        assert len([line for line in (often.folder / "log.jsonl").read_text().splitlines() if "auroc" in line]) == 4
        assert all(torch.equal(value, found["network"][name]) for name, value in expected["network"].items())
        assert Run.begun(straight.folder).finished is not None

    def test_a_checkpoint_of_an_earlier_version_which_told_how_often_is_gone_on_with(
        self, run_folder: Path, tmp_path: Path
    ) -> None:
        run = copy_of(run_folder, tmp_path / "run")
        train(run, 1)
        checkpoints = Checkpoints(run.folder / "checkpoints")
        state = checkpoints.load()
        assert state is not None
        told = json.loads(state["config"]) | {"checkpoint_every": 100, "validate_every": 250}
        checkpoints.save(state | {"config": json.dumps(told, sort_keys=True)}, 1)
        assert Run("smoke", run.folder).trainer().step == 1


class TestRun:
    def test_log_checkpoint_and_learning(self, run_folder: Path, tmp_path: Path) -> None:
        run = copy_of(run_folder, tmp_path / "run")
        before = {name: value.clone() for name, value in run.trainer().model.state_dict().items()}
        run.trainer().run()
        records = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
        assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
        assert {"contrastive", "opposite", "region", "scale", "gradient_norm"} <= set(records[0])
        assert {"validation_pointing", "retrieval/pool"} <= set(records[-1])
        sentences = [json.loads(line) for line in (run.folder / "sentences.jsonl").read_text().splitlines()]
        assert [line["step"] for line in sentences] == [1, 2]
        assert all(line["loss"] > 0 for line in sentences)
        after = run.trainer().model.state_dict()
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert any("image_encoder" in name for name in changed)
        assert any("text_encoder" in name for name in changed)

    def test_exported_bundle_opens_and_answers(self, run_folder: Path, tmp_path: Path) -> None:
        run = copy_of(run_folder, tmp_path / "run")
        run.trainer().run()
        run.structure_trainer().run()
        with mock.patch.object(Checkpoints, "load", autospec=True, side_effect=Checkpoints.load) as load:
            spec = export(Run.begun(run.folder), tmp_path / "bundle")
        assert load.call_count == 1
        assert spec.synthetic
        assert (spec.licence, spec.structures is None) == ("Apache-2.0", False)
        case = run.store.read(0)
        affine = np.diag([8.0, 8.0, 8.0, 1.0])
        volume = cc.Volume(voxels=case.hu, affine=affine, name="phantom")
        with cc.open_engine(tmp_path / "bundle", device="cpu", cache_dir=tmp_path) as engine:
            assert engine.card.synthetic
            with engine.open(volume) as session:
                assert len(session.classify()) == 18
                assert session.segment().labelmap.shape == case.hu.shape


class TestSchedule:
    def test_warms_up_then_decays_to_a_hundredth(self, run_folder: Path) -> None:
        config = Run("smoke", run_folder).config.optimizer
        rates = [schedule(step, config) for step in range(config.steps + 1)]
        assert max(rates) == pytest.approx(1.0)
        assert rates[-1] == pytest.approx(0.01)
        assert all(later <= earlier for earlier, later in itertools.pairwise(rates[1:]))


class TestOptimizers:
    def test_every_weight_has_exactly_one_optimizer_and_muon_takes_the_blocks(self, run_folder: Path) -> None:
        run = Run("smoke", run_folder)
        trainer = run.trainer()
        optimizer = dataclasses.replace(run.config.optimizer, matrix_learning_rate=0.02)
        adam, muon = make_optimizers(trainer.network, optimizer)
        held = [id(value) for opt in (adam, muon) for group in opt.param_groups for value in group["params"]]
        assert len(held) == len(set(held))
        assert set(held) == {id(value) for value in trainer.network.parameters()}
        names = {id(value): name for name, value in trainer.network.named_parameters()}
        taken = {names[id(value)] for group in muon.param_groups for value in group["params"]}
        assert "colipri.image_encoder.backbone.eva.blocks.0.mlp.fc1_g.weight" in taken
        assert not any("embeddings" in name or "pooler" in name or "norm" in name for name in taken)
