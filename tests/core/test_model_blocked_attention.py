"""Attention in query chunks equals torch's, for flat and for sharply peaked scores."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_core.model import blocked_attention as module
from colipri_core.model.blocked_attention import blocked_attention
from colipri_core.model.blocked_attention import suits_blocks


def inputs(scale: float, *, tokens: int = 1300) -> list[Tensor]:
    """Queries, keys and values (2, 2, tokens, 12) in bfloat16; a whole chunk and a remainder."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, tokens, 12, generator=generator)
    return [(q * scale).bfloat16(), (k * scale).bfloat16(), v.bfloat16()]


def relative_error(ours: Tensor, expected: Tensor) -> float:
    return ((ours.float() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(("scale", "tolerance"), [(0.1, 0.01), (1.0, 0.01), (3.0, 0.03)])
@torch.no_grad()
def test_equals_exact_attention(scale: float, tolerance: float) -> None:
    q, k, v = inputs(scale)
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert relative_error(blocked_attention(q, k, v), expected) < tolerance


@torch.no_grad()
def test_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = inputs(1.0)
    unshifted = blocked_attention(q, k, v)
    monkeypatch.setattr(module, "_MAX_EXPONENT", 0.0)
    assert relative_error(blocked_attention(q, k, v), unshifted.float()) < 0.01


@torch.no_grad()
def test_scores_that_would_overflow_stay_finite() -> None:
    """Scores of several hundred: 2^score is infinite in bfloat16, so the shifted softmax must be used."""
    q, k, v = inputs(30.0, tokens=300)
    ours = blocked_attention(q, k, v)
    assert ours.isfinite().all()
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert (ours.float() - expected).abs().median() < 0.02


@torch.no_grad()
def test_one_long_key_does_not_spoil_the_others() -> None:
    q, k, v = inputs(1.0, tokens=300)
    k[:, :, 7] *= 200
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert relative_error(blocked_attention(q, k, v), expected) < 0.03


def test_only_for_long_bfloat16_inference_on_a_cpu() -> None:
    long = torch.empty(1, 1, module.MIN_TOKENS, 6, dtype=torch.bfloat16)
    assert not suits_blocks(long), "gradients are on"
    with torch.no_grad():
        assert suits_blocks(long)
        assert not suits_blocks(long.float())
        assert not suits_blocks(long[:, :, :-1])
        assert not suits_blocks(long.to("meta"))
