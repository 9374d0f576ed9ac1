"""What a model knows before its first step."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder import PatchEmbedding
from colipri_training.data.text import SentenceBank
from colipri_training.evaluation.zero_shot import default_prompts
from colipri_training.evaluation.zero_shot import prompt_vectors
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


def test_aligned_sentences_tell_findings_and_sides_apart(run_folder: Path) -> None:
    run = Run("smoke", run_folder)
    torch.manual_seed(0)
    model = ColipriModel(run.config.model)
    bank = SentenceBank.from_store(run.store, range(4))
    first = align_sentences(model, bank, run.tokenize, steps=60, seed=0)
    assert first[-1] < 0.5 * first[0]
    affirming, denying = prompt_vectors(model.eval(), default_prompts(), run.tokenize)
    directions = F.normalize(affirming - denying, dim=1)
    overlap = (directions @ directions.T - torch.eye(len(directions))).abs().mean()
    assert overlap < 0.5


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
