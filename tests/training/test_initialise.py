"""What a model knows before its first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder import PatchEmbedding
from colipri_training.data.text import SentenceBank
from colipri_training.initialise import align_sentences
from colipri_training.initialise import whiten
from colipri_training.run import Run


def test_whitened_channels_are_uncorrelated_and_even() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(64, 64, generator=generator) * torch.logspace(0, -1, 64)[:, None]
    patches = torch.randn(4000, 64, generator=generator) @ mixing + 3.0
    embedding = PatchEmbedding(ImageEncoderConfig(patch_size=4, width=24, heads=2))
    whiten(embedding, patches)
    with torch.no_grad():
        channels = embedding(patches.reshape(-1, 1, 4, 4, 4)).flatten(1)
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
