"""What a run starts from: a bundle, the published weights from a hub, a BERT for the text side; or a refusal."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
import torch.nn.functional as F
from hub_server import FakeHub
from safetensors.torch import save
from safetensors.torch import save_file

from colipri_core.errors import BundleError
from colipri_core.errors import UnsafeCheckpointError
from colipri_core.model.bundle import load_bundle
from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ModelConfig
from colipri_training.checkpoints import CheckpointError
from colipri_training.config import RunOptions
from colipri_training.export import export
from colipri_training.run import Run
from colipri_training.start import read_start

PUBLISHED = "microsoft/colipri"
TEXT = "microsoft/BiomedVLP-CXR-BERT-specialized"


@pytest.fixture(scope="module")
def bundle(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two steps of smoke-crm."""
    folder = tmp_path_factory.mktemp("start") / "run"
    shutil.copytree(run_folder, folder)
    run = Run("smoke-crm", folder, RunOptions(settings=("optimizer.steps=2",)))
    run.trainer().run()
    export(run, folder / "bundle")
    return folder / "bundle"


def fresh(run_folder: Path, folder: Path, recipe: str = "smoke-crm", **options: str) -> Run:
    shutil.copytree(run_folder, folder)
    return Run(recipe, folder, RunOptions(**options))  # type: ignore[arg-type]


def assert_same(module: torch.nn.Module, other: torch.nn.Module) -> None:
    values = other.state_dict()
    assert all(torch.equal(value, values[name]) for name, value in module.state_dict().items())


class TestBundle:
    def test_all_its_parts_are_taken_and_the_rest_is_said_to_be_new(
        self, run_folder: Path, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = fresh(run_folder, tmp_path / "run", init=str(bundle))
        with caplog.at_level(logging.INFO):
            trainer = run.trainer()
        source = load_bundle(bundle)
        assert_same(trainer.model.image_encoder, source.model.image_encoder)
        assert_same(trainer.averaged.colipri.text_encoder, source.model.text_encoder)
        assert trainer.network.report is not None
        assert source.report_decoder is not None
        assert_same(trainer.network.report, source.report_decoder)
        assert trainer.network.scale.item() == pytest.approx(1 / float(source.model.softmax_temperature))
        assert "image_encoder, text_encoder, temperature, report decoder. New: reconstruction decoder." in caplog.text
        start = read_start(run.folder)
        assert start is not None
        assert (start.source, start.sha256, start.synthetic) == (str(bundle), source.sha256, True)
        assert not run.config.whiten

    @torch.no_grad()
    def test_stem_and_peaks_it_lacks_leave_what_it_encodes_as_it_was(
        self, run_folder: Path, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "run"
        shutil.copytree(run_folder, folder)
        with caplog.at_level(logging.INFO):
            settings = ("model.image.stem=[[4,0],[6,0],[8,1]]", "model.image.stem_maps=18", "model.pooler_peaks=18")
            run = Run("smoke-crm", folder, RunOptions(init=str(bundle), settings=settings))
            encoder = run.trainer().model.image_encoder.eval()
        assert encoder.backbone.down_projection.stem is not None
        assert "New: peaks, reconstruction decoder, stem." in caplog.text
        volume = torch.rand(1, 1, 48, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
        source = load_bundle(bundle).model.image_encoder
        torch.testing.assert_close(encoder.features(volume), source.features(volume))
        pooled = F.normalize(source.pool(source.features(volume)), dim=1)
        torch.testing.assert_close(encoder.pool(encoder.features(volume)), pooled)

    def test_one_step_changes_them_and_a_resumed_run_does_not_load_them_again(
        self, run_folder: Path, tmp_path: Path, bundle: Path
    ) -> None:
        copied = tmp_path / "bundle"
        shutil.copytree(bundle, copied)
        run = fresh(run_folder, tmp_path / "run", init=str(copied))
        trainer = run.trainer()
        trainer._one_step()
        trainer.save()
        spec = export(run, tmp_path / "exported")
        assert spec.training_data.endswith("Started from bundle.")  # by its name: its path would tell of the machine
        before = load_bundle(copied).model.state_dict()
        assert any(not torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
        shutil.rmtree(copied)
        again = Run("smoke-crm", run.folder, run.options).trainer()
        assert again.step == 1
        assert_same(again.network, trainer.network)

    def test_its_tokenizer_takes_the_place_of_the_runs_own(
        self, run_folder: Path, tmp_path: Path, bundle: Path
    ) -> None:
        run = fresh(run_folder, tmp_path / "run", init=str(bundle))
        vocabulary = run.folder / "tokenizer" / "vocab.txt"
        pieces = vocabulary.read_text().splitlines()
        vocabulary.write_text("\n".join([*pieces[:5], *reversed(pieces[5:])]) + "\n")
        run.trainer()
        expected = load_bundle(bundle).tokenizer("small pleural effusion")["input_ids"]
        assert run.tokenize(["small pleural effusion"], 40)[0].tolist() == [expected]

    def test_other_sizes_are_refused_by_name(self, run_folder: Path, tmp_path: Path) -> None:
        run = fresh(run_folder, tmp_path / "run", init="tiny")
        with pytest.raises(BundleError, match=r"tiny, image_encoder that fit the recipe, found .*Take a recipe"):
            run.trainer()

    def test_a_decoder_of_other_sizes_is_new(
        self, run_folder: Path, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = fresh(run_folder, tmp_path / "run", init=str(bundle))
        run.options = dataclasses.replace(run.options, settings=("report.layers=2",))
        with caplog.at_level(logging.INFO):
            run.trainer()
        assert "New: reconstruction decoder, report decoder." in caplog.text

    def test_another_grid_is_said(
        self, run_folder: Path, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = fresh(run_folder, tmp_path / "run", init=str(bundle))
        run.options = dataclasses.replace(run.options, settings=("preprocessing.intensity_window=[-900,1000]",))
        run.trainer()
        assert "another model grid" in caplog.text

    def test_only_one_source_for_the_text_side(self, run_folder: Path, tmp_path: Path, bundle: Path) -> None:
        run = fresh(run_folder, tmp_path / "run", init=str(bundle), text_init="somewhere")
        with pytest.raises(ValueError, match="not from both"):
            run.trainer()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    hub = FakeHub({}).start()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("COLIPRI_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "client"))
    yield hub
    hub.stop()


def test_published_weights_come_from_the_hub(
    run_folder: Path, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published layout at the sizes of the smoke recipe."""
    config = Run("smoke", run_folder).config.model
    monkeypatch.setattr(ModelConfig, "published", classmethod(lambda cls: config))
    model = ColipriModel(config)
    model.softmax_temperature.fill_(0.05)
    weights = save({name: value.contiguous() for name, value in model.state_dict().items()})
    vocabulary = (run_folder / "tokenizer" / "vocab.txt").read_bytes()
    hub.repositories |= {PUBLISHED: {"model.safetensors": weights}, TEXT: {"vocab.txt": vocabulary}}
    run = fresh(run_folder, tmp_path / "run", init=PUBLISHED)
    trainer = run.trainer()
    assert_same(trainer.model.image_encoder, model.image_encoder)
    assert_same(trainer.model.text_encoder, model.text_encoder)
    assert trainer.network.log_scale.item() == pytest.approx(math.log(20))
    assert json.loads((run.folder / "config.json").read_text())["init"] == PUBLISHED
    start = read_start(run.folder)
    assert start is not None
    assert not start.synthetic


class TestText:
    def test_a_bundle_gives_its_text_side_alone(
        self, run_folder: Path, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = fresh(run_folder, tmp_path / "run", text_init=str(bundle))
        with caplog.at_level(logging.INFO):
            trainer = run.trainer()
        source = load_bundle(bundle).model
        assert_same(trainer.model.text_encoder.backbone, source.text_encoder.backbone)
        patches = [m.image_encoder.backbone.down_projection.proj.weight for m in (trainer.model, source)]
        assert not torch.equal(*patches)
        assert "Loaded from bundle: text encoder." in caplog.text

    def write(self, run_folder: Path, folder: Path, *, drop: str = "") -> ColipriModel:
        """A BERT as hubs hold it: a prefix, and heads that nobody here wants."""
        torch.manual_seed(5)
        model = ColipriModel(Run("smoke", run_folder).config.model)
        weights = {f"bert.{name}": v.contiguous() for name, v in model.text_encoder.backbone.state_dict().items()}
        weights |= {"cls.predictions.bias": torch.zeros(3), "bert.pooler.dense.bias": torch.zeros(48)}
        folder.mkdir()
        save_file({name: value for name, value in weights.items() if name != drop}, folder / "model.safetensors")
        shutil.copy(run_folder / "tokenizer" / "vocab.txt", folder)
        return model

    def test_the_text_encoder_alone_is_taken(
        self, run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = self.write(run_folder, tmp_path / "bert")
        run = fresh(run_folder, tmp_path / "run", text_init=str(tmp_path / "bert"))
        with caplog.at_level(logging.INFO):
            trainer = run.trainer()
        assert_same(trainer.model.text_encoder.backbone, model.text_encoder.backbone)
        assert "Loaded from bert: text encoder. New: text pooler, image encoder" in caplog.text
        assert run.config.sentence_steps == 0

    def test_a_missing_key_is_named(self, run_folder: Path, tmp_path: Path) -> None:
        key = "encoder.layer.0.output.dense.bias"
        self.write(run_folder, tmp_path / "bert", drop=f"bert.{key}")
        with pytest.raises(BundleError, match=key):
            fresh(run_folder, tmp_path / "run", text_init=str(tmp_path / "bert")).trainer()

    def test_a_pickle_is_refused(self, run_folder: Path, tmp_path: Path) -> None:
        self.write(run_folder, tmp_path / "bert")
        torch.save({"a": torch.zeros(1)}, tmp_path / "bert" / "model.safetensors")
        with pytest.raises(UnsafeCheckpointError, match="pickle"):
            fresh(run_folder, tmp_path / "run", text_init=str(tmp_path / "bert")).trainer()

    def test_a_random_text_encoder_that_hardly_learns_is_said(
        self, run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = fresh(run_folder, tmp_path / "run")
        run.options = RunOptions(settings=("optimizer.text_share=0.1",))
        run.trainer()
        assert "--init-text" in caplog.text


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but its phantoms."""
    files = (path for path in folder.rglob("*") if path.is_file() and "cases" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def trained(run: Run) -> Run:
    """The run with a checkpoint of its first step."""
    trainer = run.trainer()
    trainer._one_step()
    trainer.save()
    return run


class TestRefusals:
    """What is refused, or fails, leaves the folder of the run as it was."""

    @pytest.mark.parametrize("option", ["init", "text_init"])
    def test_other_weights_for_a_begun_run(self, run_folder: Path, tmp_path: Path, bundle: Path, option: str) -> None:
        run = trained(fresh(run_folder, tmp_path / "run"))
        before = contents(run.folder)
        other = tmp_path / "other"
        shutil.copytree(bundle, other)
        with pytest.raises((ValueError, CheckpointError), match="another config"):
            Run("smoke-crm", run.folder, RunOptions(**{option: str(other)})).trainer()
        assert contents(run.folder) == before
        assert Run("smoke-crm", run.folder).trainer().step == 1

    def test_weights_that_do_not_fit_are_not_remembered(self, run_folder: Path, tmp_path: Path) -> None:
        run = fresh(run_folder, tmp_path / "run", init="tiny")
        before = contents(run.folder)
        with pytest.raises(BundleError, match="that fit the recipe"):
            run.trainer()
        assert contents(run.folder) == before
        spec = export(trained(Run("smoke-crm", run.folder)), tmp_path / "bundle")
        assert "Started from" not in spec.training_data

    def test_weights_that_were_never_trained_on_are_forgotten(
        self, run_folder: Path, tmp_path: Path, bundle: Path
    ) -> None:
        run = fresh(run_folder, tmp_path / "run", init=str(bundle))
        run.trainer()
        assert read_start(run.folder) is not None
        again = Run("smoke-crm", run.folder)
        with pytest.raises(ValueError, match="colipri-train prepare"):
            again.trainer()
        assert read_start(run.folder) is None
        for _ in again.prepare():
            pass
        assert again.trainer().config.init is None

    def test_a_bundle_that_was_replaced(self, run_folder: Path, tmp_path: Path, bundle: Path) -> None:
        copied = tmp_path / "bundle"
        shutil.copytree(bundle, copied)
        run = trained(fresh(run_folder, tmp_path / "run", init=str(copied)))
        export(run, copied, overwrite=True)
        before = contents(run.folder)
        with pytest.raises(CheckpointError, match="Choose another --output"):
            Run("smoke-crm", run.folder, run.options).trainer()
        assert contents(run.folder) == before
