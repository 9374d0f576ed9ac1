"""T3D runs from prepared scans to a bundle: killed and resumed, measured with wrong reports, opened by an engine."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from pathlib import Path

import pytest
import torch
from data_sets import write_chest
from killed import kill_after
from prepared_sets import prepare_for_smoke

import colipri_core as cc
from colipri_core.errors import CapabilityError
from colipri_core.model.config import ImageEncoderConfig
from colipri_training.checkpoints import Checkpoints
from colipri_training.config import RunOptions
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.encoders import EncoderConfig
from colipri_training.encoders import ResNetConfig
from colipri_training.encoders import SwinConfig
from colipri_training.encoders import load_encoder
from colipri_training.encoders.sizes import deepest_stride
from colipri_training.export import export
from colipri_training.objectives.cached import backward
from colipri_training.recipes.registry import RECIPES
from colipri_training.run import Run
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork
from colipri_training.t3d.validation import T3DValidation
from colipri_training.t3d.validation import told_apart
from colipri_training.trainer import Trainer


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_for_smoke(tmp_path_factory.mktemp("prepared"))


def run_of(prepared: Path, folder: Path, *settings: str, recipe: str = "t3d_smoke") -> Run:
    return Run(recipe, folder, RunOptions(data=(str(prepared),), settings=settings))


@pytest.fixture(scope="module")
def finished(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = run_of(prepared, tmp_path_factory.mktemp("finished"))
    run.trainer().run()
    return run


class TestRuns:
    def test_killed_at_random_moments_ends_in_the_same_bits(self, prepared: Path, tmp_path: Path) -> None:
        run = run_of(prepared, tmp_path / "run")
        run._begin()
        made = [run._batches()(step) for step in range(8)]  # threads that unpack scans do not survive a fork

        def train(folder: Path) -> None:
            trainer = Trainer(run.config, made.__getitem__, folder)
            trainer.resume()
            trainer.run()

        straight, killed = tmp_path / "straight", tmp_path / "killed"
        train(straight)
        source = random.Random(os.urandom(4))
        for records in (1, 4):
            kill_after(train, killed, records, delay=source.uniform(0, 0.5))
        train(killed)
        expected, found = (Checkpoints(folder / "checkpoints").load() for folder in (straight, killed))
        assert expected is not None
        assert found is not None
        assert found["step"] == 6
        for part in ("network", "averaged"):
            assert all(torch.equal(value, found[part][name]) for name, value in expected[part].items())

    def test_a_larger_scan_makes_no_larger_step(self, prepared: Path, tmp_path: Path) -> None:
        batch = run_of(prepared, tmp_path).trainer()._batches(0)
        assert batch.images.shape == (4, 2, 32, 32, 32)
        assert batch.corrupted.shape == (4, 32, 32, 32)
        assert all(volume.record.shape[0] > 32 for volume in PreparedVolumes(prepared).volumes)

    def test_the_twin_sees_the_same_sub_volumes(self, prepared: Path, tmp_path: Path) -> None:
        one, twin = (
            run_of(prepared, tmp_path / name, recipe=name).trainer()._batches(2)
            for name in ("t3d_smoke", "t3d_smoke_textfree")
        )
        assert torch.equal(one.images, twin.images)
        assert torch.equal(one.corrupted, twin.corrupted)

    def test_an_encoder_of_another_family_trains_too_and_starts_from_a_bundle(
        self, prepared: Path, finished: Run, tmp_path: Path
    ) -> None:
        bundle = tmp_path / "bundle"
        export(finished, bundle, licence="test")
        again = Run("t3d_smoke_contrast", tmp_path / "again", RunOptions(data=(str(prepared),), init=str(bundle)))
        trainer = again.trainer()
        assert isinstance(trainer.network, T3DNetwork)
        expected = load_encoder(bundle).encoder.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in trainer.network.encoder.state_dict().items())
        primus = (
            'encoder={"in_channels":1,"patch_size":8,"width":48,"depth":1,"heads":4,"mlp_ratio":2.0,"layer_scale":0.1,'
            '"drop_path":0.0,"embed_dim":48,"intensity_ramps":[]}'
        )
        other = run_of(prepared, tmp_path / "primus", primus, "optimizer.steps=1")
        other.trainer().run()
        assert type(other.finished.encoder).__name__ == "PrimusEncoder"

    def test_a_recipe_without_data_asks_for_it(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="name their folders with --data"):
            Run("t3d", tmp_path)._resolve(vocab_size=100)


class TestBfloat16:
    @pytest.mark.parametrize(
        "encoder",
        [
            ResNetConfig(layers=(1, 1, 1, 1), planes=(8, 8, 16, 16)),
            ResNetConfig(block="basic", layers=(1, 1, 1, 1), planes=(8, 8, 16, 16), stem_stride=1, max_pool=False),
            SwinConfig(width=12, heads=(1, 1, 1, 1)),
            ImageEncoderConfig(width=48, depth=1, heads=4, embed_dim=48),
            ImageEncoderConfig(width=48, depth=1, heads=4, embed_dim=48, patch_size=4, stem=((8, 1), (16, 1))),
        ],
        ids=["resnet", "resnet-fine", "swin", "primus", "primus-stem"],
    )
    @pytest.mark.parametrize("restoration", [0.0, 1.0])
    def test_the_smallest_convolved_map_is_known(self, encoder: EncoderConfig, restoration: float) -> None:
        config = RECIPES["t3d_smoke"](vocab_size=50)
        assert isinstance(config, T3DConfig)
        config = dataclasses.replace(
            config,
            encoder=encoder,
            data=dataclasses.replace(config.data, crop=(64, 32, 64)),
            loss=dataclasses.replace(config.loss, restoration=restoration),
        )
        network, volume = T3DNetwork(config), torch.zeros(1, 1, *config.data.crop)
        seen: list[int] = []
        for module in network.modules():
            if isinstance(module, torch.nn.Conv3d) and module.kernel_size == (3, 3, 3):
                module.register_forward_hook(lambda module, args, made: seen.append(min(made.shape[2:])))
        with torch.no_grad():
            levels = network.encoder(volume)
            if network.decoder is not None:
                network.decoder(levels, volume)
        assert config.data.crop[0] // levels[-1].shape[2] == deepest_stride(encoder)
        assert config.smallest_convolved == (min(seen) if seen else None)

    def test_maps_whose_gradients_are_wrong_on_a_processor_are_refused(self, prepared: Path, tmp_path: Path) -> None:
        """A crop of 32 voxels at a stride of 16 leaves 2 cells."""
        with pytest.raises(ValueError, match=r"bfloat16 on a CPU .* at least 3 cells .* got 2; set bf16=false"):
            run_of(prepared, tmp_path / "small", "bf16=true").trainer()
        run = run_of(prepared, tmp_path / "run", "bf16=true", "data.crop=[48,48,48]")
        trainer = run.trainer()
        batch = trainer._batches(0)
        first, *others = (gradients(trainer, batch) for _ in range(6))
        assert all(torch.isfinite(value).all() for value in first)
        assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def gradients(trainer: Trainer, batch: T3DBatch) -> list[torch.Tensor]:
    trainer.network.train().zero_grad(set_to_none=True)
    backward(trainer.network, trainer.objectives, batch, seed=1, autocast=trainer._autocast)
    return [value.grad.clone() for value in trainer.network.parameters() if value.grad is not None]


class TestValidation:
    def test_a_wrong_report_is_the_error_of_that_report(self, finished: Run) -> None:
        network = finished.finished
        assert isinstance(network, T3DNetwork)
        torch.nn.init.normal_(network.decoder.leave.weight, std=0.3)  # type: ignore[union-attr]
        validation = T3DValidation(finished.sources, finished.config, finished.tokenize)  # type: ignore[arg-type]
        measured = validation.measure(network)
        assert measured is not None
        assert measured.own is not None
        assert measured.wrong is not None
        assert len(measured.own) == len(measured.wrong) == 4
        assert (measured.own != measured.wrong).all()
        assert measured.told is not None
        assert (measured.told > 1e-3).all()
        assert measured.figures() == validation(network)
        again = validation.measure(network)
        assert again is not None
        assert (again.own == measured.own).all()
        for weight in network.text_encoder.embeddings.parameters():  # type: ignore[union-attr]
            torch.nn.init.zeros_(weight)
        deaf = validation.measure(network)
        assert deaf is not None
        assert deaf.told == pytest.approx(0, abs=1e-5)
        assert deaf.own == pytest.approx(deaf.wrong, abs=1e-5)


class TestTexts:
    def test_are_told_apart_by_what_is_no_padding(self) -> None:
        states, mask = torch.ones(2, 3, 4), torch.tensor([[1, 1, 0], [1, 1, 1]])
        same = states.clone()
        same[0, 2] = 9.0
        assert told_apart((states, mask), (same, mask)).tolist() == [0.0, 0.0]
        other = torch.zeros(2, 3, 4)
        other[..., 0] = 2.0
        assert told_apart((states, mask), (other, mask)).tolist() == pytest.approx([1.0, 1.0])


class TestExport:
    def test_opens_for_structures_and_similar_cases_and_refuses_words(self, finished: Run, tmp_path: Path) -> None:
        for _ in finished.structure_phantoms():
            pass
        finished.structure_trainer().run()
        spec = export(finished, tmp_path / "bundle", licence="test")
        assert json.loads((tmp_path / "bundle" / "spec.json").read_text())["kind"] == "dense"
        assert not spec.synthetic
        volume = cc.read_volume(write_chest(tmp_path / "scan.nii.gz", seed=1))
        with cc.open_engine(tmp_path / "bundle") as engine, engine.open(volume) as session:
            assert engine.capabilities.findings == ()
            assert not engine.capabilities.free_text
            assert not engine.capabilities.report
            segmentation = session.segment()
            assert segmentation.labelmap.shape == volume.shape
            assert [segment.name for segment in segmentation.segments] == list(spec.structures.names)  # type: ignore[union-attr]
            assert session.embedding().vector.shape == (32,)
            for refused in (
                session.classify,
                lambda: session.evidence("nodule"),
                session.draft_report,
                lambda: session.check_sentences(["No nodule."]),
                lambda: engine.embed_text("nodule"),
            ):
                with pytest.raises(CapabilityError, match="reads no text"):
                    refused()

    def test_a_licence_is_asked_for(self, finished: Run, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="--licence"):
            export(finished, tmp_path / "bundle")
