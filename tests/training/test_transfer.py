"""Downstream runs: nested few-shot subsets, frozen encoders, exact resume, losses that fall, figures that are kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_encoders import save_small_encoder

from colipri_core.errors import InputError
from colipri_core.model.config import ImageEncoderConfig
from colipri_training.config import OptimizerConfig
from colipri_training.encoders import EncoderConfig
from colipri_training.encoders import ResNetConfig
from colipri_training.encoders import SwinConfig
from colipri_training.encoders import build_encoder
from colipri_training.transfer.batches import TransferBatches
from colipri_training.transfer.batches import draw_crop
from colipri_training.transfer.config import DecoderConfig
from colipri_training.transfer.config import TransferConfig
from colipri_training.transfer.experiment import Experiment
from colipri_training.transfer.experiment import build_network
from colipri_training.transfer.experiment import run_experiment
from colipri_training.transfer.networks import SegmentationNetwork
from colipri_training.transfer.recipes import RECIPES
from colipri_training.transfer.recipes import recipe
from colipri_training.transfer.sources import open_source
from colipri_training.transfer.sources import weights_sha256
from colipri_training.transfer.subsets import few_shot
from colipri_training.transfer.targets import ORGANS
from colipri_training.transfer.targets import SMALL_LESIONS
from colipri_training.transfer.targets import labelmap
from colipri_training.transfer.targets import targets_of
from colipri_training.transfer.trainer import TransferTrainer
from colipri_training.transfer.volumes import SubVolumeConfig
from colipri_training.transfer.volumes import SubVolumeStore

VOLUMES = SubVolumeConfig(size=(32, 32, 32), spacing_mm=(4.0, 4.0, 4.0), train=6, test=3)
SEGMENTATION = TransferConfig(
    name="test-segmentation",
    task="segmentation",
    volumes=VOLUMES,
    targets=("Lungs", "Heart", "Spine", *SMALL_LESIONS),
    crop=(32, 32, 32),
    decoder=DecoderConfig(width=4, widest=16),
    optimizer=OptimizerConfig(steps=4, learning_rate=3e-3, weight_decay=0.01),
    checkpoint_every=2,
)
CLASSIFICATION = dataclasses.replace(SEGMENTATION, name="test-classification", task="classification")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> SubVolumeStore:
    stored = SubVolumeStore(tmp_path_factory.mktemp("volumes"), VOLUMES)
    assert stored.missing() == 9
    assert sorted(stored.fill()) == sorted([*VOLUMES.seeds("test"), *VOLUMES.seeds("train")])
    return stored


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_encoder(tmp_path_factory.mktemp("encoders") / "small")


def trainer_of(config: TransferConfig, volumes: SubVolumeStore, bundle: Path, folder: Path) -> TransferTrainer:
    opened = open_source(str(bundle))
    batches = TransferBatches(volumes, config, opened.window_hu)
    return TransferTrainer(config, build_network(opened, config), batches, folder=folder, weights=opened.weights)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


class TestFewShot:
    def test_subsets_are_nested_and_seeded(self) -> None:
        cases = range(500_000, 500_200)
        small, middle, whole = (few_shot(cases, fraction, seed=3) for fraction in (0.01, 0.1, 1.0))
        assert [len(small), len(middle), len(whole)] == [2, 20, 200]
        assert middle[:2] == small
        assert whole[:20] == middle
        assert set(whole) == set(cases)
        assert few_shot(cases, 0.1, seed=3) == middle
        assert set(few_shot(cases, 0.1, seed=4)) != set(middle)

    def test_a_share_of_few_is_still_one(self) -> None:
        assert len(few_shot(range(5), 0.01, seed=0)) == 1

    @pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
    def test_impossible_shares_are_refused(self, fraction: float) -> None:
        with pytest.raises(ValueError, match="fraction in"):
            few_shot(range(5), fraction, seed=0)

    def test_a_run_reads_no_other_case(self, volumes: SubVolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
        config = dataclasses.replace(SEGMENTATION, fraction=0.3, batch_size=4)
        batches = TransferBatches(volumes, config, (-1000.0, 1000.0))
        seen = set()
        read = volumes.read
        monkeypatch.setattr(volumes, "read", lambda seed: (seen.add(seed), read(seed))[1])
        for step in range(6):
            batches(step)
        assert len(batches.cases) == 2
        assert seen <= set(batches.cases)


class TestVolumes:
    def test_the_same_seed_is_the_same_cube(self, volumes: SubVolumeStore, tmp_path: Path) -> None:
        again = SubVolumeStore(tmp_path, dataclasses.replace(VOLUMES, train=1, test=1))
        assert len(list(again.fill())) == 2
        for seed in (VOLUMES.seeds("train")[0], VOLUMES.seeds("test")[0]):
            assert np.array_equal(again.read(seed).hu, volumes.read(seed).hu)
            assert again.present(seed) == volumes.present(seed)

    def test_nothing_is_made_twice(self, volumes: SubVolumeStore) -> None:
        assert volumes.missing() == 0
        assert list(volumes.fill()) == []

    def test_findings_are_those_that_the_cube_shows(self, volumes: SubVolumeStore) -> None:
        for seed in VOLUMES.seeds("train"):
            case = volumes.read(seed)
            voxels = {finding: int(((case.lesions >> finding) & 1).sum()) for finding in range(18)}
            assert set(case.present) == {finding for finding, number in voxels.items() if number >= 4}

    def test_a_folder_never_mixes_two_grids(self, volumes: SubVolumeStore) -> None:
        with pytest.raises(InputError, match="Choose another folder"):
            SubVolumeStore(volumes.folder, dataclasses.replace(VOLUMES, spacing_mm=(2.0, 2.0, 2.0)))

    def test_test_cases_are_no_training_cases(self) -> None:
        for make in RECIPES.values():
            assert not set(make().volumes.seeds("train")) & set(make().volumes.seeds("test"))


class TestTargets:
    def test_lesions_lie_over_organs(self) -> None:
        labels = np.array([[[2, 6, 7, 0]]], dtype=np.uint8)
        lesions = np.array([[[1 << 9, 0, 1 << 3, 1 << 9]]], dtype=np.int32)
        painted = labelmap(labels, lesions, targets_of(["Lung nodule", "Lungs"]))
        assert painted.tolist() == [[[2, 1, 0, 2]]]

    def test_unknown_names_are_listed(self) -> None:
        with pytest.raises(ValueError, match=r"Lungs.*got Lung nodules\."):
            targets_of(["Lung nodules"])

    def test_recipes_know_their_targets(self) -> None:
        for make in RECIPES.values():
            config = make()
            assert {target.group for target in targets_of(config.targets)} == {"organ", "lesion"}
            assert set(config.targets) == {*ORGANS, *SMALL_LESIONS}
            assert TransferConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
            assert recipe(config.name, config.task) == config

    def test_a_recipe_of_the_other_task_is_refused(self) -> None:
        with pytest.raises(ValueError, match="Available: organs-and-lesions, small-segmentation"):
            recipe("findings", "segmentation")


def test_crops_show_the_target_they_are_drawn_for() -> None:
    labels = np.zeros((40, 30, 20), dtype=np.uint8)
    labels[39, 0, 19] = 1
    config = dataclasses.replace(SEGMENTATION, crop=(8, 8, 8), foreground=1.0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        crop = labels[draw_crop(labels, config, rng)]
        assert crop.shape == (8, 8, 8)
        assert crop.any()


@pytest.mark.parametrize(
    "config",
    [
        ResNetConfig(layers=(1, 1, 1, 1), planes=(8, 8, 8, 8)),
        SwinConfig(width=12, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4),
    ],
    ids=["resnet-with-pool", "swin"],
)
@pytest.mark.parametrize("image_skip", [True, False])
def test_decoders_fit_encoders_of_other_depths(config: ResNetConfig | SwinConfig, *, image_skip: bool) -> None:
    sizes = DecoderConfig(width=4, widest=8, image_skip=image_skip)
    network = SegmentationNetwork(build_encoder(config), classes=3, config=sizes, frozen=False)
    assert network(torch.zeros(1, 1, 64, 32, 32)).shape == (1, 3, 64, 32, 32)


class TestTraining:
    def test_the_shipped_encoder_can_be_fine_tuned(self, volumes: SubVolumeStore, tmp_path: Path) -> None:
        opened = open_source("tiny")
        config = dataclasses.replace(SEGMENTATION, optimizer=OptimizerConfig(steps=1))
        batches = TransferBatches(volumes, config, opened.window_hu)
        network = build_network(opened, config)
        TransferTrainer(config, network, batches, folder=tmp_path, weights=opened.weights).run()
        assert weights_sha256(network.encoder) != opened.weights

    @pytest.mark.parametrize("config", [SEGMENTATION, CLASSIFICATION], ids=["segmentation", "classification"])
    def test_the_loss_falls_on_a_small_set(
        self, config: TransferConfig, volumes: SubVolumeStore, bundle: Path, tmp_path: Path
    ) -> None:
        optimizer = dataclasses.replace(config.optimizer, steps=32, learning_rate=2e-2)
        few = dataclasses.replace(config, optimizer=optimizer, fraction=0.3, augment=False)
        trainer_of(few, volumes, bundle, tmp_path).run()
        values = losses(tmp_path)
        assert sum(values[-8:]) < 0.8 * sum(values[:8])

    @pytest.mark.parametrize("use", ["frozen", "slowed", "finetuned"])
    def test_what_becomes_of_the_encoder(self, use: str, volumes: SubVolumeStore, bundle: Path, tmp_path: Path) -> None:
        config = SEGMENTATION.changed([f'encoder="{use}"'])
        trainer = trainer_of(config, volumes, bundle, tmp_path)
        before = {name: value.clone() for name, value in trainer.network.encoder.state_dict().items()}
        decoder = weights_sha256(trainer.network.decoder)  # type: ignore[attr-defined]
        trainer.run()
        after = trainer.network.encoder.state_dict()
        moved = [float((value - before[name]).abs().max()) for name, value in after.items()]
        assert weights_sha256(trainer.network.decoder) != decoder  # type: ignore[attr-defined]
        if use == "frozen":
            assert max(moved) == 0
            assert not any(group["params"][0] is value for group in trainer.optimizer.param_groups
                           for value in trainer.network.encoder.parameters())  # fmt: skip
        else:
            expected = 3e-4 if use == "slowed" else 3e-3
            assert max(moved) > 0
            assert trainer.optimizer.param_groups[0]["peak"] == pytest.approx(expected)
            assert trainer.optimizer.param_groups[-1]["peak"] == pytest.approx(3e-3)

    @pytest.mark.parametrize("config", [SEGMENTATION, CLASSIFICATION], ids=["segmentation", "classification"])
    def test_a_run_goes_on_exactly(
        self, config: TransferConfig, volumes: SubVolumeStore, bundle: Path, tmp_path: Path
    ) -> None:
        whole = trainer_of(config, volumes, bundle, tmp_path / "whole")
        whole.run()
        first = trainer_of(config, volumes, bundle, tmp_path / "parts")
        for _ in range(3):  # the third step is lost: the checkpoint holds the second
            first._one_step()
        second = trainer_of(config, volumes, bundle, tmp_path / "parts")
        assert second.resume()
        assert second.step == 2
        second.run()
        assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
        assert weights_sha256(second.network) == weights_sha256(whole.network)

    @pytest.mark.parametrize(
        ("config", "cells"),
        [
            (ResNetConfig(block="basic", layers=(1, 1, 1, 1), planes=(8, 8, 16, 16), max_pool=False), 2),
            (SwinConfig(width=12, heads=(1, 1, 1, 1)), 2),
            (ImageEncoderConfig(width=48, depth=1, heads=4, embed_dim=48, patch_size=16), 4),
        ],
        ids=["resnet", "swin", "primus"],
    )
    def test_maps_whose_gradients_are_wrong_on_a_processor_are_refused(
        self, config: EncoderConfig, cells: int, volumes: SubVolumeStore, tmp_path: Path
    ) -> None:
        transfer = dataclasses.replace(SEGMENTATION, bf16=True)
        batches = TransferBatches(volumes, transfer, (-1000, 1000))
        network = SegmentationNetwork(build_encoder(config), classes=6, config=transfer.decoder, frozen=False)
        seen: list[int] = []
        for module in network.modules():
            if isinstance(module, torch.nn.Conv3d) and module.kernel_size == (3, 3, 3):
                module.register_forward_hook(lambda module, args, made: seen.append(min(made.shape[2:])))
        with torch.no_grad():
            network(torch.zeros(1, 1, 32, 32, 32))
        assert network.smallest_convolved(32) == min(seen) == cells
        if cells < 3:
            with pytest.raises(ValueError, match=f"at least 3 cells .* got {cells}; set bf16=false"):
                TransferTrainer(transfer, network, batches, folder=tmp_path, weights="w")
        else:
            TransferTrainer(transfer, network, batches, folder=tmp_path, weights="w")

    def test_another_run_is_not_gone_on_with(self, volumes: SubVolumeStore, bundle: Path, tmp_path: Path) -> None:
        trainer_of(SEGMENTATION, volumes, bundle, tmp_path).save()
        other = save_small_encoder(tmp_path / "other", seed=1)
        for config, source in ((dataclasses.replace(SEGMENTATION, seed=1), bundle), (SEGMENTATION, other)):
            with pytest.raises(ValueError, match="another config or encoder"):
                trainer_of(config, volumes, source, tmp_path).resume()


class TestSources:
    def test_fresh_weights_of_the_same_sizes(self, bundle: Path) -> None:
        stored = open_source(str(bundle))
        fresh, again, other = (open_source(f"random:{bundle}", seed=seed) for seed in (5, 5, 6))
        assert fresh.encoder.config == stored.encoder.config
        assert fresh.weights == again.weights
        assert len({stored.weights, fresh.weights, other.weights}) == 3
        assert [stored.pretrained, fresh.pretrained] == [True, False]

    def test_the_last_checkpoint_of_a_run(self, tmp_path: Path, run_folder: Path) -> None:
        from colipri_training.config import RunOptions
        from colipri_training.run import Run

        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "cases").symlink_to(run_folder / "cases")
        (folder / "tokenizer").symlink_to(run_folder / "tokenizer")
        run = Run("smoke", folder, RunOptions(settings=("optimizer.steps=1", "sentence_steps=0")))
        run.trainer().run()
        opened = open_source(str(folder))
        expected = run.pretrained().image_encoder.backbone
        assert weights_sha256(opened.encoder.backbone) == weights_sha256(expected)  # type: ignore[union-attr]
        assert opened.spacing_mm == (8.0, 8.0, 8.0)


class TestExperiments:
    def document(self, experiment: Experiment, volumes: SubVolumeStore, folder: Path) -> dict[str, Any]:
        document = run_experiment(experiment, volumes, folder)
        assert json.loads((folder / experiment.name / "result.json").read_text()) == document
        return document

    def test_segmentation_from_weights_to_figures(self, volumes: SubVolumeStore, bundle: Path, tmp_path: Path) -> None:
        experiment = Experiment(label="small", source=str(bundle), config=SEGMENTATION)
        document = self.document(experiment, volumes, tmp_path)
        assert (document["steps"], document["train_cases"], document["cases"]) == (4, 6, 3)
        assert set(document["targets"]) == set(SEGMENTATION.targets)
        lungs = document["targets"]["Lungs"]
        values = list(document["dice_of_cases"]["Lungs"].values())
        assert len(values) == lungs["cases"]
        assert lungs["dice"]["value"] == pytest.approx(np.mean(values), abs=1e-3)
        assert lungs["dice"]["low"] <= lungs["dice"]["value"] <= lungs["dice"]["high"]
        assert not (tmp_path / experiment.name / "checkpoints").exists()

    @pytest.mark.parametrize("method", ["probe", "train"])
    def test_classification(self, method: str, volumes: SubVolumeStore, bundle: Path, tmp_path: Path) -> None:
        config = dataclasses.replace(CLASSIFICATION, encoder="frozen" if method == "probe" else "finetuned")
        experiment = Experiment(label="small", source=str(bundle), config=config, method=method)  # type: ignore[arg-type]
        document = self.document(experiment, volumes, tmp_path)
        assert document["use"] == ("probe" if method == "probe" else "finetuned")
        assert 0 <= document["macro"]["auroc"]["value"] <= 1
        assert len(document["findings"]) == 18

    def test_a_finished_one_is_read_and_a_changed_one_refused(
        self, volumes: SubVolumeStore, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        experiment = Experiment(label="small", source=str(bundle), config=SEGMENTATION)
        document = self.document(experiment, volumes, tmp_path)
        monkeypatch.setattr(TransferTrainer, "run", lambda self: pytest.fail("trained again"))
        assert run_experiment(experiment, volumes, tmp_path) == document
        changed = dataclasses.replace(SEGMENTATION, batch_size=1)
        with pytest.raises(InputError, match="choose another output"):
            run_experiment(dataclasses.replace(experiment, config=changed), volumes, tmp_path)

    def test_probes_need_two_cases(self, volumes: SubVolumeStore, bundle: Path, tmp_path: Path) -> None:
        config = dataclasses.replace(CLASSIFICATION, fraction=0.01, encoder="frozen")
        experiment = Experiment(label="small", source=str(bundle), config=config, method="probe")
        with pytest.raises(ValueError, match="at least two labelled cases, got 1"):
            run_experiment(experiment, volumes, tmp_path)

    def test_probes_do_not_segment(self, bundle: Path) -> None:
        with pytest.raises(ValueError, match="A probe classifies findings"):
            Experiment(label="small", source=str(bundle), config=SEGMENTATION, method="probe")
