"""A report decoder on a frozen encoder: what it is told to write, where it starts, that it learns and goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from nodule_phantoms import stored
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.language.labeller import label_report
from colipri_core.model.bundle import Bundle
from colipri_core.model.bundle import load_bundle
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.cli.main import main
from colipri_training.config import OptimizerConfig
from colipri_training.data.store import CaseStore
from colipri_training.data.store import StoredSentence
from colipri_training.data.text import SentenceBank
from colipri_training.data.tokens import TokenFiles
from colipri_training.evaluation.prompts import ENGINE
from colipri_training.evaluation.prompts import bundle_directions
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED
from colipri_training.writer.config import WriterConfig
from colipri_training.writer.trainer import WriterTrainer
from colipri_training.writer.trainer import start_memory
from colipri_training.writer.wordings import SystematicReports

NODULE = CT_RATE_FINDINGS.index("Lung nodule")
CASES = 6
GRID = (12, 12, 12)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(save_random_bundle(tmp_path_factory.mktemp("bundle") / "random", local=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Every second phantom has a nodule that nothing can miss; all else is denied, always in the same words."""
    cases = CaseStore(tmp_path_factory.mktemp("cases"))
    others = tuple(
        StoredSentence(text=f"No {concept.terms[0]}.", finding=finding, positive=False)
        for finding, concept in enumerate(CT_RATE_CONCEPTS)
        if finding != NODULE
    )
    for number, seed in enumerate([*range(CASES), VALIDATION_FIRST_SEED, VALIDATION_FIRST_SEED + 1]):
        case = stored(seed, nodule=number % 2 == 0)
        hu = case.hu + np.int16(400 * (case.hu < -500) * bool(case.present))
        cases.write(dataclasses.replace(case, hu=hu, sentences=(*others, *case.sentences)))
    return cases


def decoder_config(bundle: Bundle) -> ReportDecoderConfig:
    return ReportDecoderConfig(
        vocab_size=len(bundle.tokenizer),
        memory_width=bundle.model.width,
        width=48,
        layers=2,
        heads=4,
        hidden=96,
        max_length=200,
        memory_pool=1,
        dropout=0.0,
    )


def course(bundle: Bundle, *, steps: int) -> WriterConfig:
    return WriterConfig(
        decoder=decoder_config(bundle),
        optimizer=OptimizerConfig(steps=steps, learning_rate=1e-2),
        cases=CASES,
        batch_size=4,
        validation_cases=2,
        save_every=2,
    )


class TestReports:
    def test_every_finding_is_affirmed_or_denied_in_order(self, run_folder: Path, bundle: Bundle) -> None:
        phantoms = CaseStore(run_folder / "cases")
        seeds = phantoms.seeds()
        bank = SentenceBank.from_store(phantoms, seeds)
        reports = SystematicReports(phantoms, bank, bundle.tokenizer, max_length=200)
        for seed in seeds:
            sentences = reports.sentences(seed, np.random.default_rng(seed))
            present = set(phantoms.read_text(seed)["present"])
            assert [affirms for _, affirms in sentences] == [number in present for number in range(18)]
            said = label_report(" ".join(text for text, _ in sentences)).vector
            assert {number for number, positive in enumerate(said) if positive} == present

    def test_wordings_depend_on_the_generator_alone(self, run_folder: Path, bundle: Bundle) -> None:
        phantoms = CaseStore(run_folder / "cases")
        seeds = phantoms.seeds()[:2]
        bank = SentenceBank.from_store(phantoms, seeds)
        reports = SystematicReports(phantoms, bank, bundle.tokenizer, max_length=200)
        first, again, other = (reports.batch(seeds, np.random.default_rng(number)) for number in (1, 1, 2))
        assert torch.equal(first[0], again[0])
        assert not torch.equal(first[0], other[0])

    def test_pieces_of_affirming_sentences_are_marked(self, store: CaseStore, bundle: Bundle) -> None:
        names = bundle.tokenizer
        reports = SystematicReports(store, SentenceBank.from_store(store, range(CASES)), names, max_length=200)
        ids, marks = reports.batch([0, 1], np.random.default_rng(0))
        assert names.decode(ids[0][marks[0] == 1]) == "there is a lung nodule."
        assert not (marks[1] == 1).any()
        for row, mark in zip(ids, marks, strict=True):
            kept = row[mark >= 0]
            assert (kept[0], kept[-1]) == (names.cls_token_id, names.sep_token_id)
            assert (row[mark < 0] == names.pad_token_id).all()

    def test_a_report_that_is_too_long_is_cut_and_ended(self, store: CaseStore, bundle: Bundle) -> None:
        reports = SystematicReports(store, SentenceBank.from_store(store, range(CASES)), bundle.tokenizer, max_length=9)
        ids, _ = reports.batch([0], np.random.default_rng(0))
        assert ids.shape == (1, 9)
        assert ids[0, -1] == bundle.tokenizer.sep_token_id


def test_the_memory_starts_from_the_evidence(store: CaseStore, bundle: Bundle, tmp_path: Path) -> None:
    decoder = ReportDecoder(decoder_config(bundle))
    with torch.no_grad():
        decoder.memory_place.weight.zero_()
    tokens = TokenFiles(bundle, store, tmp_path).batch(range(CASES))
    start_memory(decoder, bundle, tokens, GRID)
    with torch.no_grad():
        memory = decoder.memory(tokens, GRID).flatten(0, 1)
        dense = bundle.model.dense(rearrange(tokens, "b (x y z) c -> b c x y z", x=12, y=12, z=12))
        directions = bundle_directions(bundle, ENGINE)
        evidence = torch.einsum("bexyz,fe->bxyzf", F.normalize(dense, dim=1), directions).flatten(0, 3)
    for finding in range(len(directions)):
        both = torch.stack([memory[:, finding], evidence[:, finding]])
        assert torch.corrcoef(both)[0, 1] > 0.9


def test_learns_to_write_what_is_there_and_opens_in_the_viewer(
    store: CaseStore, bundle: Bundle, tmp_path: Path
) -> None:
    trainer = WriterTrainer(
        dataclasses.replace(course(bundle, steps=60), save_every=20), bundle, store=store, folder=tmp_path / "run"
    )
    before = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    trainer.run()
    assert trainer.best == 1.0
    written = [label_report(text).vector[NODULE] for text in trainer.write(range(CASES))]
    assert written == [True, False] * 3
    assert all(torch.equal(value, before[name]) for name, value in bundle.model.state_dict().items())

    trainer.export(tmp_path / "writing")
    assert "Report decoder: 6 phantoms" in load_bundle(tmp_path / "writing").spec.training_data
    case = store.read(0)
    volume = cc.Volume(voxels=case.hu, affine=np.diag([8.0, 8.0, 8.0, 1.0]))
    with cc.open_engine(tmp_path / "writing", cache_dir=tmp_path / "cache") as engine, engine.open(volume) as session:
        draft = session.draft_report()
    assert engine.capabilities.report
    (nodule,) = [sentence for sentence in draft if sentence.finding == "Lung nodule"]
    assert nodule.text == "There is a lung nodule."


def test_a_resumed_run_is_the_same_run(store: CaseStore, bundle: Bundle, tmp_path: Path) -> None:
    whole = WriterTrainer(course(bundle, steps=6), bundle, store=store, folder=tmp_path / "whole")
    whole.run()
    cut = WriterTrainer(course(bundle, steps=6), bundle, store=store, folder=tmp_path / "cut")
    with pytest.MonkeyPatch.context() as patch:
        loss = cut._loss
        patch.setattr(cut, "_loss", lambda step: loss(step) if step < 3 else pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            cut.run()
    rest = WriterTrainer(course(bundle, steps=6), bundle, store=store, folder=tmp_path / "cut")
    assert rest.step == 2
    rest.run()
    assert all(
        torch.equal(value, rest.decoder.state_dict()[name]) for name, value in whole.decoder.state_dict().items()
    )


def test_phantoms_that_are_missing_are_named(store: CaseStore, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 missing, such as 6"):
        WriterTrainer(
            WriterConfig(
                decoder=decoder_config(bundle), optimizer=OptimizerConfig(steps=1), cases=CASES + 1, validation_cases=0
            ),
            bundle,
            store=store,
            folder=tmp_path,
        )


def test_the_command_makes_a_bundle(store: CaseStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_random_bundle(tmp_path / "random", local=True)
    arguments = ["writer", "--init", str(model), "--store", str(store.folder), "--cases", "2", "--first-case", "0"]
    sizes = ["decoder.width=24", "decoder.layers=1", "decoder.heads=2", "validation_cases=1", "save_every=1"]
    status = main([*arguments, "--steps", "2", "--output", str(tmp_path / "run"), "--half", *sizes])
    assert status == 0
    assert "1 validation phantoms" in capsys.readouterr().out
    decoder = load_bundle(tmp_path / "run" / "bundle").report_decoder
    assert decoder is not None
    assert decoder.config.layers == 1
