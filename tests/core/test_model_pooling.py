"""Pooling with peaks: what it starts as, what it is told, and what a mask leaves out."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.config import ModelConfig
from colipri_core.model.config import TextEncoderConfig
from colipri_core.model.pooling import MeanQueryPool
from colipri_core.model.pooling import PeakPool

CONFIG = ModelConfig(
    image=ImageEncoderConfig(patch_size=4, width=12, depth=1, heads=2, embed_dim=12),
    text=TextEncoderConfig(vocab_size=20, hidden=12, layers=1, heads=2, intermediate=16, max_length=8),
    pooler_heads=2,
)


def pools(peaks: int = 3) -> tuple[MeanQueryPool, PeakPool]:
    """The same attention without and with peaks."""
    torch.manual_seed(0)
    plain, peaked = MeanQueryPool(12, 3), PeakPool(12, 3, peaks=peaks)
    missing, unexpected = peaked.load_state_dict(plain.state_dict(), strict=False)
    assert (set(missing), unexpected) == ({"directions", "weight", "typical"}, [])
    return plain.eval(), peaked.eval()


@torch.no_grad()
def test_it_starts_as_the_attention_pooling() -> None:
    plain, peaked = pools()
    tokens = torch.randn(2, 7, 12)
    torch.testing.assert_close(peaked(tokens), F.normalize(plain(tokens), dim=1))


@torch.no_grad()
def test_it_is_told_the_strongest_token_along_each_direction() -> None:
    plain, peaked = pools()
    peaked.weight.copy_(torch.tensor([0.5, 0.0, -2.0]))
    peaked.typical.copy_(torch.tensor([0.1, 0.2, 0.3]))
    tokens = torch.randn(2, 40, 12)
    directions = [row / row.norm() for row in peaked.directions]
    for pooled, sequence in zip(peaked(tokens), tokens, strict=True):
        expected = plain(sequence[None])[0] / plain(sequence[None]).norm()
        dense = [token / token.norm() for token in plain.dense(sequence)]
        for weight, typical, direction in zip(peaked.weight, peaked.typical, directions, strict=True):
            expected += weight * (max(float(token @ direction) for token in dense) - typical) * direction
        torch.testing.assert_close(pooled, expected)


@torch.no_grad()
def test_tokens_behind_the_mask_are_not_heard() -> None:
    _, peaked = pools()
    peaked.weight.fill_(0.5)
    tokens, mask = torch.randn(2, 9, 12), torch.tensor([[True] * 6 + [False] * 3] * 2)
    torch.testing.assert_close(peaked(tokens, mask), peaked(tokens[:, :6]))
    with pytest.raises(ValueError, match="mask must have the shape"):
        peaked(tokens, mask[:, :5])


def test_gradients_reach_every_parameter() -> None:
    _, peaked = pools()
    with torch.no_grad():
        peaked.weight.fill_(0.5)
    peaked(torch.randn(2, 7, 12)).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in peaked.parameters())


def test_older_documents_have_none_and_negative_numbers_are_refused() -> None:
    document = CONFIG.to_json()
    assert ModelConfig.from_json(document) == CONFIG
    del document["pooler_peaks"]
    assert ModelConfig.from_json(document) == CONFIG
    with pytest.raises(ValueError, match="pooler_peaks must not be negative, got -1"):
        dataclasses.replace(CONFIG, pooler_peaks=-1)


def test_the_config_decides() -> None:
    with_peaks = ColipriModel(dataclasses.replace(CONFIG, pooler_peaks=3)).image_encoder.pooler
    assert isinstance(with_peaks, PeakPool)
    assert with_peaks.directions.shape == (3, 12)
    assert not isinstance(ColipriModel(CONFIG).image_encoder.pooler, PeakPool)
