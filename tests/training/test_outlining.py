"""A phrase head on a frozen encoder: its loss, that it learns what a phrase names, that it goes on, and its command."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from nodule_phantoms import stored
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.model.bundle import Bundle
from colipri_core.model.bundle import load_bundle
from colipri_training.cli.main import main
from colipri_training.config import OptimizerConfig
from colipri_training.data.store import CaseStore
from colipri_training.outlining.config import OutliningConfig
from colipri_training.outlining.trainer import PhraseTrainer
from colipri_training.outlining.trainer import head_for
from colipri_training.outlining.trainer import phrase_loss
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED

CASES = 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(save_random_bundle(tmp_path_factory.mktemp("bundle") / "random", local=True, structures=False))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Every second phantom has a nodule."""
    cases = CaseStore(tmp_path_factory.mktemp("cases"))
    for number, seed in enumerate([*range(CASES), VALIDATION_FIRST_SEED]):
        cases.write(stored(seed, nodule=number % 2 == 0))
    return cases


def course(bundle: Bundle, *, steps: int) -> OutliningConfig:
    return OutliningConfig(
        head=dataclasses.replace(head_for(bundle), channels=8, width=8),
        optimizer=OptimizerConfig(steps=steps, learning_rate=1e-2),
        cases=CASES,
        validation_cases=1,
        save_every=2,
    )


class TestLoss:
    def test_is_least_where_the_answer_is_right(self) -> None:
        masks = torch.zeros(1, 2, 8, 8, 8, dtype=torch.bool)
        masks[0, 0, 2:4, 2:4, 2:4] = True
        right = torch.where(masks, 20.0, -20.0)
        assert phrase_loss(right, masks) < 0.01
        assert phrase_loss(-right, masks) > phrase_loss(torch.zeros_like(right), masks) > 0.5

    def test_a_phrase_that_names_nothing_asks_for_nothing(self) -> None:
        masks = torch.zeros(1, 1, 8, 8, 8, dtype=torch.bool)
        logits = torch.zeros(1, 1, 8, 8, 8, requires_grad=True)
        phrase_loss(logits, masks).backward()
        assert logits.grad is not None
        assert (logits.grad > 0).all()

    def test_a_voxel_of_a_small_lesion_counts_more(self) -> None:
        gradients = []
        for edge in (2, 8):
            masks = torch.zeros(1, 1, 24, 24, 24, dtype=torch.bool)
            masks[0, 0, :edge, :edge, :edge] = True
            logits = torch.zeros(1, 1, 24, 24, 24, requires_grad=True)
            phrase_loss(logits, masks).backward()
            assert logits.grad is not None
            gradients.append(float(-logits.grad[masks].sum()))
        assert gradients[0] > 3 * gradients[1] * 8 / 512, "8 voxels against 512"


def test_learns_what_a_phrase_names_and_opens_in_the_viewer(store: CaseStore, bundle: Bundle, tmp_path: Path) -> None:
    config = dataclasses.replace(course(bundle, steps=60), save_every=20)
    trainer = PhraseTrainer(config, bundle, store=store, folder=tmp_path / "run")
    before = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    trainer.run()
    assert trainer.best == 1.0
    assert min(trainer.dice(range(CASES))) > 0.5
    assert all(torch.equal(value, before[name]) for name, value in bundle.model.state_dict().items())

    trainer.export(tmp_path / "outlining")
    assert "Phrase head: 4 phantoms" in load_bundle(tmp_path / "outlining").spec.training_data
    case = store.read(0)
    volume = cc.Volume(voxels=case.hu, affine=np.diag([8.0, 8.0, 8.0, 1.0]))
    opened = cc.open_engine(tmp_path / "outlining", cache_dir=tmp_path / "cache")
    with opened as engine, engine.open(volume) as session:
        session.prompt(cc.Phrase(text="lung nodule"))
        found = session.segmentation.labelmap > 0
    lesion = case.lesions > 0
    assert 2 * (found & lesion).sum() / (found.sum() + lesion.sum()) > 0.4


def test_a_resumed_run_is_the_same_run(store: CaseStore, bundle: Bundle, tmp_path: Path) -> None:
    whole = PhraseTrainer(course(bundle, steps=6), bundle, store=store, folder=tmp_path / "whole")
    whole.run()
    cut = PhraseTrainer(course(bundle, steps=6), bundle, store=store, folder=tmp_path / "cut")
    with pytest.MonkeyPatch.context() as patch:
        loss = cut._loss
        patch.setattr(cut, "_loss", lambda step: loss(step) if step < 3 else pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            cut.run()
    rest = PhraseTrainer(course(bundle, steps=6), bundle, store=store, folder=tmp_path / "cut")
    assert rest.step == 2
    rest.run()
    assert all(torch.equal(value, rest.head.state_dict()[name]) for name, value in whole.head.state_dict().items())


def test_phantoms_that_are_missing_are_named(store: CaseStore, bundle: Bundle, tmp_path: Path) -> None:
    config = dataclasses.replace(course(bundle, steps=1), cases=CASES + 1)
    with pytest.raises(ValueError, match="1 missing, such as 4"):
        PhraseTrainer(config, bundle, store=store, folder=tmp_path)


def test_the_command_makes_a_bundle(store: CaseStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_random_bundle(tmp_path / "random", local=True)
    arguments = ["phrases", "--init", str(model), "--store", str(store.folder), "--cases", "2", "--first-case", "0"]
    sizes = ["head.channels=4", "head.width=4", "validation_cases=1", "save_every=1"]
    assert main([*arguments, "--steps", "2", "--output", str(tmp_path / "run"), "--half", *sizes]) == 0
    assert "1 validation phantoms" in capsys.readouterr().out
    made = load_bundle(tmp_path / "run" / "bundle")
    assert made.phrase_head is not None
    assert made.phrase_head.config.channels == 4
    assert made.structure_head is not None, "all other parts stay"
