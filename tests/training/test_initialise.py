"""Initial weights measured on the data."""

from __future__ import annotations

import torch

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder import PatchEmbedding
from colipri_training.initialise import whiten


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
