"""Going on: a stage goes on with its own state, and with no other; what differs is said, and nothing is written."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click_bundles import save_random_clicks
from prepared_sets import prepare_for_smoke
from random_bundles import SIZE
from random_bundles import SPACING_MM
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.io import write_labelmap
from colipri_core.io import write_volume
from colipri_core.model.bundle import load_bundle
from colipri_core.model.click_bundle import load_click_bundle
from colipri_training.checkpoints import CheckpointError
from colipri_training.cli.main import main
from colipri_training.clicks.trainer import ClickTrainer
from colipri_training.config import RunOptions
from colipri_training.export import export
from colipri_training.run import Run
from colipri_training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")


@pytest.fixture(scope="module")
def run(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one step, with a structure head of one and a bundle beside it."""
    folder = tmp_path_factory.mktemp("going-on") / "run"
    shutil.copytree(run_folder, folder)
    run = Run("smoke", folder, RunOptions(settings=("optimizer.steps=1", "sentence_steps=0")))
    run.trainer().run()
    export(run, folder / "bundle")
    Run.begun(folder, options=RunOptions(structures=("optimizer.steps=1",))).structure_trainer().run()
    return run


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    shutil.copytree(run.folder, tmp_path / "run")
    return tmp_path / "run"


@contextmanager
def unchanged(*paths: Path) -> Iterator[None]:
    before = [path.read_bytes() for path in paths]
    yield
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize(
    ("verb", "sizes"),
    [("writer", ["decoder.width=24", "decoder.layers=1", "decoder.heads=2"]), ("phrases", ["batch_size=1"])],
)
def test_a_part_of_another_bundle_or_course_is_not_taken_for_the_new_one(
    verb: str, sizes: list[str], copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, output = str(copied / "cases"), tmp_path / "part"
    command = [verb, "--store", cases, "--cases", "2", "--first-case", "0", "--steps", "1", "--output", str(output)]
    command += ["validation_cases=0", *sizes]
    first = [*command, "--init", str(copied / "bundle")]
    assert main(first) == 0
    with unchanged(output / f"{verb}.pt", output / "bundle" / "model.safetensors"):
        assert main(first) == 0  # the same again goes on, here at its end
        capsys.readouterr()
        other = save_random_bundle(tmp_path / "other", local=True)
        assert main([*command, "--init", str(other)]) == 3
        assert "bundle: " in capsys.readouterr().err
        assert main([*first, "--cases", "1", "--learning-rate", "0.5"]) == 3
        message = capsys.readouterr().err
        assert "config.cases: 2, now 1" in message
        assert "now 0.5" in message
        assert "Choose another --output" in message


def write_case(folder: Path, name: str, start: int) -> None:
    """A scan with a bright block that is labelled."""
    voxels = np.full((SIZE,) * 3, -900, dtype=np.int16)
    box = (slice(start, start + 14), slice(10, 34), slice(12, 36))
    voxels[box] = 700
    volume = cc.Volume(voxels=voxels, affine=np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0]))
    labelmap = (voxels > 0).astype(np.uint8)
    write_volume(volume, folder / f"{name}.nii.gz")
    labels = cc.Segmentation(labelmap=labelmap, geometry=volume.geometry, segments=(cc.Segment(label=1, name="Block"),))
    write_labelmap(labels, folder / f"{name}_dseg.nii.gz")


def test_more_labels_are_another_training_and_the_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project, output = tmp_path / "scans", tmp_path / "run"
    project.mkdir()
    write_case(project, "a", 4)
    init = str(save_random_bundle(tmp_path / "init"))
    command = ["structures", "--project", str(project), "--init", init, "--output", str(output), "--all"]
    command += ["--steps", "1"]
    assert main(command) == 0
    assert main(command) == 0
    write_case(project, "b", 20)
    capsys.readouterr()
    with unchanged(output / "structures.pt", output / "bundle" / "spec.json"):
        assert main(command) == 3
    assert "b.nii.gz: none, now" in capsys.readouterr().err
    (output / "structures.pt").unlink()
    assert main(command) == 0
    assert "2 labelled volumes" in load_bundle(output / "bundle").spec.training_data
    write_case(project, "a", 8)  # corrected since
    assert main(command) == 3
    assert "a.nii.gz" in capsys.readouterr().err


def test_a_head_of_an_encoder_that_went_on_is_neither_gone_on_with_nor_exported(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--output", str(copied), "--overwrite"]) == 0
    trainer = Run("smoke", copied, RunOptions(settings=("optimizer.steps=1", "sentence_steps=0"))).trainer()
    with torch.no_grad():
        next(trainer.averaged.colipri.image_encoder.parameters()).add_(1)
    trainer.save()
    with unchanged(copied / "structures.pt", copied / "bundle" / "spec.json"):
        assert main(["structures", "--output", str(copied)]) == 3
        assert "encoder: " in capsys.readouterr().err
        assert main(["export", "--output", str(copied), "--overwrite"]) == 3
    (copied / "structures.pt").unlink()
    assert main(["structures", "--output", str(copied)]) == 0
    assert main(["export", "--output", str(copied), "--overwrite"]) == 0


def test_a_state_of_an_earlier_version_is_gone_on_with_and_known_from_then_on(copied: Path) -> None:
    path = copied / "structures.pt"
    state = torch.load(path, weights_only=True)
    del state["identity"]
    torch.save(state, path)
    run = Run.begun(copied)
    assert run.structure_trainer().step == 1
    assert "identity" in torch.load(path, weights_only=True)
    stage = run.structure_trainer()
    stage.identity["encoder"] = "another"
    with pytest.raises(CheckpointError, match="now another"):
        stage.resume()


def asked_to_stop_after(monkeypatch: pytest.MonkeyPatch, trainer: type, number: int) -> None:
    """Make a trainer's process get SIGTERM in a step."""
    step = trainer._train_step  # type: ignore[attr-defined]

    def interrupted(self: Any, *batch: Any) -> dict[str, float]:
        if self.step == number - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return dict(step(self, *batch))

    monkeypatch.setattr(trainer, "_train_step", interrupted)


def test_a_pretraining_that_was_stopped_ends_with_130_and_goes_on(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    command = ["pretrain", "--recipe", "smoke-c", "--output", str(tmp_path / "run"), "optimizer.steps=3"]
    with monkeypatch.context() as patch:
        asked_to_stop_after(patch, Trainer, 2)
        assert main(command) == 130
    assert "stopped after step 2 of 3" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        asked_to_stop_after(patch, Trainer, 3)
        assert main(command) == 0  # in its last step: nothing is missing


def test_a_segmenter_that_was_stopped_takes_no_bundles_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = save_random_clicks(tmp_path / "mine")
    sizes = ["region=48", "network.channels=4", "network.widest=8", "batch_size=2", "chest_share=0"]
    command = ["clicks", "--output", str(tmp_path / "run"), "--bundle", str(bundle), "--steps", "3", *sizes]
    with unchanged(bundle / "model.safetensors"), monkeypatch.context() as patch:
        asked_to_stop_after(patch, ClickTrainer, 2)
        assert main(command) == 130
        assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert "6 regions" in load_click_bundle(bundle).spec.training_data


def test_preparing_again_leaves_the_config_of_a_begun_run_as_it_is(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", "--recipe", "smoke", "--output", str(copied), "--workers", "1"]
    with unchanged(copied / "config.json", copied / "tokenizer" / "vocab.txt"):
        assert main([*command, "optimizer.steps=7"]) == 0
        assert main([*command, "preprocessing.spacing_mm=[6,6,6]"]) == 3
    assert "spacing_mm: [8.0, 8.0, 8.0], now [6.0, 6.0, 6.0]" in capsys.readouterr().err
    assert main(["export", "--output", str(copied), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("structures.pt", None),
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", "{}"),
        ("start.json", "{}"),
        ("start.json", "["),
        ("checkpoints/index.json", "{"),
        ("checkpoints/index.json", '{"checkpoints": [1]}'),
        ("structures.settings.json", "{"),
    ],
)
def test_a_damaged_file_is_named(
    copied: Path, capsys: pytest.CaptureFixture[str], file: str, content: str | None
) -> None:
    path = copied / file
    path.write_bytes(path.read_bytes()[:1000] if content is None else content.encode())
    assert main(["export", "--output", str(copied), "--overwrite"]) == 3
    assert str(path) in capsys.readouterr().err


def test_a_run_of_data_sets_asks_for_them_again(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare_for_smoke(tmp_path_factory.mktemp("prepared"))
    command = ["pretrain", "--recipe", "smoke-c", "--output", str(tmp_path / "run"), "optimizer.steps=1"]
    assert main([*command, "--data", str(prepared), "compute.workers=0"]) == 0
    assert main(command) == 2
    assert f"--data {prepared}" in capsys.readouterr().err


def test_a_bundle_that_is_there_is_not_replaced_unasked(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with unchanged(copied / "bundle" / "spec.json"):
        assert main(["export", "--output", str(copied)]) == 3
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "out/log.jsonl"), 3, "out/log.jsonl"),
        (FloatingPointError("The losses are nan after 3 steps."), 1, "after 3 steps. Set a lower learning rate"),
        (RuntimeError("mat1 and mat2"), 1, "COLIPRI_DEBUG=1"),
    ],
)
def test_no_error_ends_in_a_traceback_unless_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def broken(folder: Path, recipe: str | None) -> Run:
        raise error

    monkeypatch.setattr(Run, "begun", broken)
    assert main(["export", "--output", "out"]) == code
    assert said in capsys.readouterr().err
    assert "Traceback" not in caplog.text
    monkeypatch.setenv("COLIPRI_DEBUG", "1")
    assert main(["export", "--output", "out"]) == code
    assert "Traceback" in caplog.text
