"""What a model knows before its first step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder import PatchEmbedding
from colipri_core.model.pooling import PeakPool
from colipri_training.data.text import SentenceBank
from colipri_training.initialise import align_sentences
from colipri_training.initialise import point_at_findings
from colipri_training.initialise import whiten
from colipri_training.run import Run


def test_whitened_channels_are_uncorrelated_and_even() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(64, 64, generator=generator) * torch.logspace(0, -1, 64)[:, None]
    patches = torch.randn(4000, 64, generator=generator) @ mixing + 3.0
    embedding = PatchEmbedding(ImageEncoderConfig(patch_size=4, width=24, heads=2))
    whiten(embedding, patches)
    with torch.no_grad():
        channels = embedding(patches.reshape(-1, 1, 4, 4, 4))[0].flatten(1)
    assert channels.mean(dim=0).abs().max() < 1e-3
    torch.testing.assert_close(channels.T.cov(), 0.25 * torch.eye(24), atol=2e-3, rtol=0)


def agreement(run: Run, model: ColipriModel, bank: SentenceBank) -> float:
    """Share of findings whose direction from "no" to "yes" is nearest to that of the same finding in other words."""
    rng = np.random.default_rng(99)
    directions = []
    with torch.no_grad():
        for _ in range(2):
            yes, no = (model.eval().encode_text(*run.tokenize(texts, 40)) for texts in bank.draw_pairs(rng))
            directions.append(F.normalize(yes - no, dim=1))
    nearest = (directions[0] @ directions[1].T).argmax(dim=1)
    return float((nearest == torch.arange(len(nearest))).float().mean())


def test_aligned_sentences_tell_findings_apart_whatever_the_wording(run_folder: Path) -> None:
    run = Run("smoke", run_folder)
    torch.manual_seed(0)
    model = ColipriModel(run.config.model)
    bank = SentenceBank.from_store(run.store, range(4))
    before = agreement(run, model, bank)
    losses = align_sentences(model, bank, run.tokenize, steps=120, seed=0)
    assert losses[-1] < 0.6 * losses[0]
    assert agreement(run, model, bank) > max(before, 0.5)


def test_the_same_seed_gives_the_same_text_encoder(run_folder: Path) -> None:
    run = Run("smoke", run_folder)
    bank = SentenceBank.from_store(run.store, range(4))
    models = []
    for _ in range(2):
        torch.manual_seed(1)
        model = ColipriModel(run.config.model)
        align_sentences(model, bank, run.tokenize, steps=2, seed=5)
        models.append(model.state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


@pytest.fixture(scope="module")
def pointed(run_folder: Path) -> tuple[ColipriModel, torch.Tensor]:
    """A model whose text encoder tells findings apart, pointed at them, and their directions."""
    run = Run("smoke", run_folder)
    torch.manual_seed(0)
    config = run.config.model
    image = dataclasses.replace(config.image, stem=((4, 0), (6, 0), (8, 1)), stem_maps=18)
    model = ColipriModel(dataclasses.replace(config, image=image, pooler_peaks=18))
    bank = SentenceBank.from_store(run.store, range(4))
    align_sentences(model, bank, run.tokenize, steps=120, seed=0)
    model.eval()
    point_at_findings(model, bank, run.tokenize, seed=0)
    with torch.no_grad():
        drawn = [bank.draw_pairs(np.random.default_rng(seed)) for seed in range(90, 106)]
        vectors = [[model.encode_text(*run.tokenize(texts, 40)) for texts in pair] for pair in drawn]
        return model, torch.stack([yes - no for yes, no in vectors]).mean(dim=0)


@torch.no_grad()
def test_peaks_start_as_the_directions_of_the_findings(pointed: tuple[ColipriModel, torch.Tensor]) -> None:
    model, directions = pointed
    pooler = model.image_encoder.pooler
    assert isinstance(pooler, PeakPool)
    alike = F.normalize(pooler.directions, dim=1) @ F.normalize(directions, dim=1).T
    assert torch.equal(alike.argmax(dim=1), torch.arange(18))
    assert torch.equal(pooler.weight, torch.ones(18))


@torch.no_grad()
def test_a_map_that_shows_a_finding_moves_a_token_along_it(pointed: tuple[ColipriModel, torch.Tensor]) -> None:
    model, directions = pointed
    encoder = model.image_encoder
    stem = encoder.backbone.down_projection.stem
    assert stem is not None
    assert stem.recall is not None
    tokens = torch.randn(48, 1, 1, 18, generator=torch.Generator().manual_seed(1)).expand(1, -1, -1, -1, -1)
    told = 16 * stem.recall.weight[:, -18:].reshape(1, 48, 1, 1, 18)
    moved = (encoder.dense(tokens + told) - encoder.dense(tokens)).reshape(48, 18).T @ directions.T
    # An encoder of random weights hardly lets some directions through.
    assert (moved.argmax(dim=1) == torch.arange(18)).sum() >= 15
    assert moved.diagonal().mean() > 3 * moved[~torch.eye(18, dtype=torch.bool)].abs().mean()


def test_another_number_of_peaks_is_refused(run_folder: Path) -> None:
    run = Run("smoke", run_folder)
    model = ColipriModel(dataclasses.replace(run.config.model, pooler_peaks=4))
    bank = SentenceBank.from_store(run.store, range(4))
    with pytest.raises(ValueError, match="Expected 18 peaks, one a finding, found 4"):
        point_at_findings(model, bank, run.tokenize, seed=0)
