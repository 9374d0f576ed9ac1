"""The stem stage: which crops and cells it sees, what it learns, and that the pretraining starts from it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_core.model.encoder import PatchEmbedding
from colipri_training.cli.main import main
from colipri_training.config import PretrainConfig
from colipri_training.config import RunOptions
from colipri_training.data.lesion_crops import LesionCrops
from colipri_training.data.lesion_crops import cell_targets
from colipri_training.recipes.tiny import smoke_stem
from colipri_training.run import Run
from colipri_training.stem import StemTrainer
from colipri_training.stem import lesion_loss

SETTINGS = (
    "model.image.stem=[[4,0],[6,0],[8,1]]",
    "model.image.stem_maps=18",
    "stem_taught=true",
    "optimizer.stem_share=0",
    "optimizer.steps=2",
)


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Run:
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / "config.json").unlink()
    made = Run("smoke", tmp_path / "run", RunOptions(settings=SETTINGS))
    for _ in made.prepare():
        pass
    return made


def config_of(run: Run) -> PretrainConfig:
    assert isinstance(run.config, PretrainConfig)
    return run.config


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class TestCells:
    def test_half_of_a_cell_shows_a_finding_and_less_leaves_it_open(self) -> None:
        lesions = torch.zeros(4, 4, 4, dtype=torch.int32)
        lesions[:2, :2, 0] = 1 << 9  # four of eight voxels
        lesions[2, 0, 0] = 1 << 9  # one of eight
        lesions[2:, 2:, 2:] = 1 << 3  # of a finding the phantom is not said to have
        targets = cell_targets(lesions, (9,)).reshape(18, 2, 2, 2)
        assert targets[9, 0, 0, 0] == 1
        assert targets[9, 1, 0, 0] == -1
        assert targets.abs().sum() == 2

    def test_the_fullest_cell_of_a_small_lesion_shows_it(self) -> None:
        lesions = torch.zeros(4, 4, 4, dtype=torch.int32)
        lesions[1, 1, 1] = lesions[0, 1, 1] = lesions[2, 1, 1] = 1
        assert cell_targets(lesions, (0,)).reshape(18, 2, 2, 2)[0, :, 0, 0].tolist() == [1, -1]


class TestCrops:
    def test_a_step_gives_the_same_crops_again(self, run: Run) -> None:
        crops = LesionCrops(run.store, smoke_stem(config_of(run)))
        (one, targets), (again, targets_again), (other, _) = crops(3), crops(3), crops(4)
        assert one.shape == (4, 1, 16, 16, 16)
        assert targets.shape == (4, 18, 8**3)
        assert one.abs().max() <= 1
        assert torch.equal(one, again)
        assert torch.equal(targets, targets_again)
        assert not torch.equal(one, other)

    def test_all_but_the_last_crop_of_a_phantom_show_one_of_its_findings(self, run: Run) -> None:
        config = dataclasses.replace(smoke_stem(config_of(run)), shift_voxels=0)
        crops = LesionCrops(run.store, config)
        ill = {seed for seed in range(config.train_cases) if run.store.read(seed).present}
        for step in range(8):
            drawn = np.random.default_rng([config.seed, 4, step]).integers(0, config.train_cases, size=2)
            _, targets = crops(step)
            shows = (targets != 0).flatten(1).any(dim=1)[::2]
            assert shows.tolist() == [int(seed) in ill for seed in drawn]


class TestLoss:
    def test_it_is_the_formula(self) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(3, 2, 50, generator=generator)
        targets = torch.zeros(3, 2, 50)
        targets[0, 0, :5], targets[1, 0, 7], targets[2, 1, 10:30], targets[0, 1, :3] = 1, 1, 1, -1
        crops = [F.softplus(-logits[0, 0, :5]).mean(), F.softplus(-logits[1, 0, 7])]
        positive = (torch.stack(crops).mean() + F.softplus(-logits[2, 1, 10:30]).mean()) / 2
        others = F.softplus(logits) * (targets == 0)
        hardest = others.amax((0, 2)).mean()  # 0.3 % of 150 cells is one cell
        expected = (positive + (others.mean() + hardest) / 2) / 2
        assert lesion_loss(logits, targets).item() == pytest.approx(expected.item(), rel=1e-5)

    def test_a_finding_that_no_crop_shows_adds_no_positive_part(self) -> None:
        logits = torch.full((2, 3, 10), -30.0)
        assert lesion_loss(logits, torch.zeros(2, 3, 10)).item() == pytest.approx(0, abs=1e-6)


class TestStage:
    def test_it_learns_its_statistics_and_goes_on_bit_for_bit(self, run: Run, tmp_path: Path) -> None:
        config = dataclasses.replace(smoke_stem(config_of(run)), save_every=1)
        config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, steps=3))

        def stage(folder: str) -> StemTrainer:
            torch.manual_seed(0)
            embedding = PatchEmbedding(config_of(run).model.image)
            return StemTrainer(config, embedding, store=run.store, folder=tmp_path / folder)

        straight, stopped = stage("straight"), stage("stopped")
        before = weights(straight.stem)
        straight.run()
        for _ in range(2):
            stopped._train_step()
            stopped.step += 1
        stopped.save()
        resumed = stage("stopped")
        assert resumed.resume()
        assert resumed.step == 2
        resumed.run()
        after = weights(straight.stem)
        assert all(torch.equal(value, resumed.stem.state_dict()[name]) for name, value in after.items())
        unchanged = {name for name in before if torch.equal(before[name], after[name])}
        assert unchanged == {"leave.weight", "leave.bias", "recall.weight", "recall.bias"}
        log = [json.loads(line) for line in (tmp_path / "straight" / "stem.jsonl").read_text().splitlines()]
        assert [line["step"] for line in log] == [1, 2, 3]

    def test_it_learns_last_how_high_the_maps_of_whole_phantoms_rise(self, run: Run) -> None:
        stage = run.stem_trainer()
        stage.run()
        stem, embedding, config = run.stem_trainer().stem, PatchEmbedding(config_of(run).model.image), config_of(run)
        low, high = config.preprocessing.intensity_window
        cases = [torch.from_numpy(run.store.read(seed).hu).float() for seed in range(config.data.train_cases)]
        volumes = (torch.stack(cases)[:, None].clamp(low, high) - low) / (high - low) * 2 - 1
        with torch.no_grad():
            peaks = stem.draw(embedding.channels(volumes)).amax(dim=(2, 3, 4))
        torch.testing.assert_close(stem.usual, peaks.mean(dim=0))
        torch.testing.assert_close(stem.spread, peaks.std(dim=0, correction=0).clamp(min=1e-5))

    def test_maps_of_one_phantom_learn_where_its_lesions_are(self, run: Run, tmp_path: Path) -> None:
        optimizer = dataclasses.replace(smoke_stem(config_of(run)).optimizer, steps=40, learning_rate=2e-2)
        config = dataclasses.replace(smoke_stem(config_of(run)), optimizer=optimizer, train_cases=1)
        torch.manual_seed(0)
        stage = StemTrainer(
            config, PatchEmbedding(config_of(run).model.image), store=run.store, folder=tmp_path / "stage"
        )
        losses = []
        for _ in range(40):
            losses.append(stage._train_step())
            stage.step += 1
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])

    def test_a_stem_without_maps_is_refused(self, run_folder: Path) -> None:
        with pytest.raises(ValueError, match="with a map for each of 18 findings, found 0"):
            Run.begun(run_folder).stem_trainer()

    def test_a_recipe_without_the_stage_is_refused(self, run_folder: Path) -> None:
        with pytest.raises(ValueError, match='"smoke-crm" teaches no stem; those that do: tiny, smoke'):
            Run("smoke-crm", run_folder).stem_trainer()


class TestPretraining:
    def test_it_waits_for_the_stage_then_starts_from_it_and_leaves_it_as_it_is(self, run: Run) -> None:
        with pytest.raises(ValueError, match=r"learned its 2 steps, found 0. Run `colipri-train stem"):
            run.trainer()
        assert main(["stem", "--output", str(run.folder)]) == 0
        taught = run.stem_trainer().stem.state_dict()
        trainer = run.trainer()
        trainer.run()
        stem = trainer.final_model().image_encoder.backbone.down_projection.stem.state_dict()  # type: ignore[union-attr]
        changed = {name for name in taught if not torch.equal(taught[name], stem[name])}
        assert changed == {"leave.weight", "leave.bias", "recall.weight", "recall.bias"}

    def test_without_a_rate_for_the_trunk_only_what_reads_its_tokens_learns(self, run: Run) -> None:
        run.stem_trainer().run()
        settings = (*SETTINGS, "optimizer.trunk_share=0", "whiten=false", "model.pooler_peaks=18")
        trainer = Run("smoke", run.folder, RunOptions(settings=settings)).trainer()
        before = weights(trainer.network.model)
        trainer.run()
        after = trainer.network.model.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        trunk = {name for name in changed if name.startswith("image_encoder.backbone.")}
        assert trunk == {f"image_encoder.backbone.down_projection.stem.recall.{name}" for name in ("weight", "bias")}
        assert {f"image_encoder.pooler.{name}" for name in ("directions", "weight", "typical")} <= changed
        assert "image_encoder.projector.weight" in changed
        assert any(name.startswith("text_encoder.") for name in changed)

    def test_a_share_of_the_rate_lets_it_learn(self, run: Run) -> None:
        run.stem_trainer().run()
        taught = run.stem_trainer().stem.state_dict()
        settings = (*SETTINGS, "optimizer.stem_share=0.5")
        trainer = Run("smoke", run.folder, RunOptions(settings=settings)).trainer()
        peak = trainer.config.optimizer.learning_rate
        rates = {group["peak"] / peak for group in trainer.optimizers[0].param_groups}
        assert rates == {1, 0.5, trainer.config.optimizer.text_share}
        trainer.run()
        stem = trainer.network.model.image_encoder.backbone.down_projection.stem.state_dict()  # type: ignore[union-attr]
        changed = {name for name in taught if not torch.equal(taught[name], stem[name])}
        statistics = {name for name in taught if name.endswith((".mean", ".variance", "usual", "spread"))}
        assert changed == set(taught) - statistics
