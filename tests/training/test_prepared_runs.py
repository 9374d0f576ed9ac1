"""Runs on prepared data sets: they train, go on exactly, stay the same on two processes, and export honestly."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared_sets import IMAGE_ONLY
from prepared_sets import PAIRED
from prepared_sets import VALIDATION
from prepared_sets import prepare_for_smoke

import colipri_core as cc
from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import Checkpoints
from colipri_training.config import RunOptions
from colipri_training.data.loader import groups_of
from colipri_training.data.prepared import PreparedDataError
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.distributed import World
from colipri_training.export import export
from colipri_training.networks import network_of
from colipri_training.recipes.registry import RECIPES
from colipri_training.run import Run
from colipri_training.trainer import Trainer

SETTINGS = (
    "data.batch_size=4",
    "data.unpaired=2",
    "reconstruction.paired=false",
    "compute.workers=0",
    "optimizer.matrix_learning_rate=0",
    "optimizer.learning_rate=0.0003",
)
RECIPE = "smoke-crm-opposite"
T3D = [name for name in RECIPES if name.startswith("t3d_smoke")]
FAST_T3D = ("t3d_smoke_views",)
T3D_RECIPES = [pytest.param(name, marks=() if name in FAST_T3D else pytest.mark.slow) for name in T3D]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_for_smoke(tmp_path_factory.mktemp("prepared"))


def run_of(prepared: Path, folder: Path, *settings: str, recipe: str = RECIPE, **options: Any) -> Run:
    own = () if recipe in T3D else SETTINGS
    return Run(recipe, folder, RunOptions(data=(str(prepared),), settings=(*own, *settings), **options))


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses_of(run: Run) -> set[str]:
    """Names of the losses of a run."""
    return {objective.name for _, objective in network_of(run.config).objectives}


def weights(run: Run) -> dict[str, torch.Tensor]:
    state = Checkpoints(run.folder / "checkpoints").load()
    assert state is not None
    network: dict[str, torch.Tensor] = state["network"]
    return network


class TestBatches:
    def test_pairs_have_all_texts_and_images_alone_have_none(self, prepared: Path, tmp_path: Path) -> None:
        run = run_of(prepared, tmp_path)
        batch = run.trainer()._batches(0)
        reports = {volume.report for volume in PreparedVolumes(prepared).volumes}
        assert batch.images.shape == (4, 1, 48, 48, 48)
        assert batch.unpaired is not None
        assert batch.unpaired.shape == (2, 1, 48, 48, 48)
        assert [len(part) for part in (batch.reports[0], batch.keep, batch.findings)] == [4, 4, 4]
        assert batch.targets is not None
        written = run._tokenizer.batch_decode(batch.targets[0], skip_special_tokens=True)  # type: ignore[attr-defined]
        known = [" ".join((report or "").lower().split()) for report in reports]
        assert all(any(text.split(" impression")[0][:8] in report for report in known) for text in written)
        assert batch.holds is not None
        assert batch.statements is not None
        assert batch.statements[0].shape[:2] == (4, 16)
        assert ((batch.holds == 1).sum(dim=1) >= 1).all()
        assert ((batch.holds == 0).sum(dim=1) >= 1).all()

    def test_what_holds_is_said_in_the_own_report(self, prepared: Path, tmp_path: Path) -> None:
        run = run_of(prepared, tmp_path)
        batch = run.trainer()._batches(3)
        assert batch.holds is not None
        assert batch.statements is not None
        assert batch.targets is not None
        decode = run._tokenizer.batch_decode  # type: ignore[attr-defined]
        for ids, holds, target in zip(batch.statements[0], batch.holds, batch.targets[0], strict=True):
            said, opposites = decode(ids[:8], skip_special_tokens=True), decode(ids[8:], skip_special_tokens=True)
            (report,) = decode(target[None], skip_special_tokens=True)
            for text, opposite, known in zip(said, opposites, holds.tolist(), strict=True):
                assert (text != opposite) == (known >= 0)
                assert known < 0 or (text in report) == bool(known)

    def test_a_dropped_token_choice_and_crops_belong_to_the_place_not_the_rank(
        self, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = run_of(prepared, tmp_path).trainer()._batches(1)
        parts = []
        for rank in range(2):
            here = World(device=torch.device("cpu"), rank=rank, size=2)
            monkeypatch.setattr("colipri_training.run.world", lambda here=here: here)
            run = run_of(prepared, tmp_path)
            parts.append(run._batches()(1))
        for name in ("images", "keep", "findings", "unpaired", "holds", "groups"):
            joined = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(joined, getattr(whole, name)), name

    def test_scans_of_a_patient_and_equal_reports_are_no_negatives(self) -> None:
        pairs = [("a", "Normal."), ("b", "Nodule."), ("a", "Other."), ("c", "normal. "), ("d", "x"), ("b", "other.")]
        assert groups_of(pairs) == [0, 0, 0, 0, 4, 0]
        assert groups_of(pairs[:2] + pairs[3:5]) == [0, 1, 0, 3]

    def test_a_smaller_crop_is_read_and_every_token_kept_if_there_is_room(self, prepared: Path, tmp_path: Path) -> None:
        run = run_of(prepared, tmp_path, "data.volumes.crop=[32,32,24]", "data.tokens=500")
        batch = run.trainer()._batches(0)
        assert batch.images.shape[2:] == (32, 32, 24)
        assert batch.keep.tolist() == [list(range(48))] * 4


class TestRuns:
    @pytest.mark.parametrize("recipe", [RECIPE, *T3D_RECIPES])
    def test_trains_validates_and_goes_on_bit_for_bit(self, prepared: Path, tmp_path: Path, recipe: str) -> None:
        straight = run_of(prepared, tmp_path / "straight", recipe=recipe)
        straight.trainer().run()
        shutil.copytree(straight.folder / "tokenizer", tmp_path / "stopped" / "tokenizer")  # its training is not exact
        stopped = run_of(prepared, tmp_path / "stopped", recipe=recipe)
        first = stopped.trainer()
        first._begin()
        for _ in range(4):
            first._one_step()
        again = run_of(prepared, tmp_path / "stopped", "compute.workers=1", recipe=recipe).trainer()
        assert again.step == 4
        again.run()
        expected, found = weights(straight), weights(stopped)
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
        log = records(straight.folder)
        assert losses_of(straight) <= set(log[0])
        if recipe in T3D:
            assert log[-1]["validation_scans"] == 4
            return
        assert log[-1]["validation_volumes"] == log[-1]["retrieval/pool"] == 2
        assert 0 <= log[-1]["retrieval/image_to_report_r1"] <= 1

    def test_images_alone_reach_reconstruction_and_nothing_else(self, prepared: Path, tmp_path: Path) -> None:
        trainer = run_of(prepared, tmp_path).trainer()
        batch = trainer._batches(0)
        assert batch.unpaired is not None
        other = dataclasses.replace(batch, unpaired=-batch.unpaired)
        one, two = (run_of(prepared, tmp_path).trainer()._train_step(given) for given in (batch, other))
        assert one["reconstruction"] != two["reconstruction"]
        assert all(one[name] == two[name] for name in ("contrastive", "opposite", "report"))

    def test_other_data_is_refused_when_a_run_goes_on(self, prepared: Path, tmp_path: Path) -> None:
        run = run_of(prepared, tmp_path / "run")
        run.trainer().save()
        index = tmp_path / "copy" / "index.jsonl"
        index.parent.mkdir()
        (index.parent / "prepared.json").write_text((prepared / "prepared.json").read_text())
        lines = (prepared / "index.jsonl").read_text()
        index.write_text(lines)
        assert run_of(index.parent, run.folder).trainer().step == 0  # another place is no other data
        index.write_text(lines.replace("Scan 3", "Scan 33"))
        with pytest.raises(PreparedDataError, match="start a new run"):
            run_of(index.parent, run.folder).trainer()

    @pytest.mark.parametrize(
        ("recipe", "settings", "message"),
        [
            ("smoke", (), "lesion masks"),
            (RECIPE, ("data.batch_size=40",), "40 volumes with a report needs as many, and there are 8"),
            (RECIPE, ("preprocessing.spacing_mm=[4,4,4]",), "Prepare the data set for this recipe"),
            (RECIPE, ("data.batchsize=4",), "Fields there: .*batch_size"),
        ],
    )
    def test_what_cannot_be_trained_is_refused(
        self, prepared: Path, tmp_path: Path, recipe: str, settings: tuple[str, ...], message: str
    ) -> None:
        with pytest.raises((ValueError, PreparedDataError), match=message):
            run_of(prepared, tmp_path, *settings, recipe=recipe).trainer()

    def test_a_recipe_for_real_data_asks_for_it(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="name their folders with --data"):
            Run("colipri-crm", tmp_path)._resolve(vocab_size=100)

    @pytest.mark.parametrize("recipe", [pytest.param(RECIPE, marks=pytest.mark.slow), *T3D_RECIPES])
    def test_two_processes_give_the_losses_of_one(
        self, prepared: Path, tmp_path: Path, in_processes: Any, recipe: str
    ) -> None:
        run = run_of(prepared, tmp_path / "run", recipe=recipe)
        run._begin()
        for size in (1, 2):

            def work(folder: Path = tmp_path / str(size)) -> None:
                Trainer(run.config, run_of(prepared, run.folder, recipe=recipe)._batches(), folder).run()

            in_processes(work, size)
        one, two = (records(tmp_path / str(size)) for size in (1, 2))
        for name in losses_of(run):
            assert max(abs(a[name] - b[name]) for a, b in zip(one, two, strict=True)) < 1e-5, name


class TestExport:
    def test_the_bundle_says_what_it_was_trained_on_and_under_which_licence(
        self, prepared: Path, tmp_path: Path
    ) -> None:
        run = run_of(prepared, tmp_path / "run", "optimizer.steps=1")
        with pytest.raises(ValueError, match="No run was begun"):
            Run.begun(run.folder)
        run.trainer().run()
        begun = Run.begun(run.folder, RECIPE)
        assert begun.config == run.config
        with pytest.raises(ValueError, match="--licence"):
            export(begun, tmp_path / "bundle")
        spec = export(begun, tmp_path / "bundle", licence="CC-BY-NC-SA-4.0", name="mine")
        assert not spec.synthetic
        assert (
            spec.training_data == f"{PAIRED + IMAGE_ONLY} chest CT volumes, {PAIRED} of them with reports (prepared)."
        )
        with cc.open_engine(tmp_path / "bundle", device="cpu", cache_dir=tmp_path) as engine:
            assert (engine.card.name, engine.card.licence) == ("mine", "CC-BY-NC-SA-4.0")

    def test_a_run_without_checkpoint_has_nothing_to_export(self, prepared: Path, tmp_path: Path) -> None:
        run = run_of(prepared, tmp_path / "run")
        run.trainer()
        with pytest.raises(CheckpointError, match="found none"):
            export(Run.begun(run.folder), tmp_path / "bundle", licence="MIT")


def test_the_validation_split_is_seen_once_a_report(prepared: Path, tmp_path: Path) -> None:
    run = run_of(prepared, tmp_path, "data.validation_cases=10")
    run._begin()
    assert len(run._validation()._examples) == VALIDATION
