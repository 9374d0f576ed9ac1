"""The five poolings a probe is trained on: mean, maximum, and attention with three kinds of query.

Names follow the pooling classes of the published package (models compared with them name the same five). Attention is
`nn.MultiheadAttention` computed in another order: with one to four queries, keys and values need not be projected for
every token, since a score is q W_k x = (W_k^T q) x and the projected mean of values is the mean of tokens, projected.
That is the same result for a hundredth of the work. Naming: B volumes, N tokens, C channels, Q queries, H heads, D
channels of a head.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch import nn

POOLINGS = ("mean", "max", "learned-query", "mean-query", "four-queries")
"""Average; maximum; one learned query; the mean token as query; four learned queries, averaged."""

ATTENTION = POOLINGS[2:]


class AttentionPool(nn.Module):
    """Pools tokens by attention of few queries.

    Args:
        width: Channels of a token.
        heads: Attention heads.
        queries: Learned queries, whose results are averaged; 0 takes the mean token as the query.
    """

    def __init__(self, width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        # N(0, 1) / sqrt(width), as in the published package.
        self.queries = nn.Parameter(torch.randn(queries, width) / math.sqrt(width)) if queries else None

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Pool tokens (B, N, C) to (B, C)."""
        attention = self.attention
        heads = attention.num_heads
        to_query, to_key, to_value = rearrange(attention.in_proj_weight, "(s c) k -> s c k", s=3)
        query_bias, _, value_bias = rearrange(attention.in_proj_bias, "(s c) -> s c", s=3)
        queries = x_BNC.mean(dim=1, keepdim=True) if self.queries is None else self.queries[None]
        q_BQHD = rearrange(F.linear(queries, to_query, query_bias), "b q (h d) -> b q h d", h=heads)
        q_BQHD = q_BQHD.expand(len(x_BNC), -1, -1, -1) / math.sqrt(q_BQHD.shape[-1])
        # The bias of the keys adds the same to all scores of a query, so the softmax does not see it.
        folded_BQHC = torch.einsum("bqhd,hdc->bqhc", q_BQHD, rearrange(to_key, "(h d) c -> h d c", h=heads))
        weights = torch.einsum("bqhc,bnc->bqhn", folded_BQHC, x_BNC).softmax(dim=-1)
        mixed_BQHC = torch.einsum("bqhn,bnc->bqhc", weights, x_BNC)
        values = torch.einsum("bqhc,hdc->bqhd", mixed_BQHC, rearrange(to_value, "(h d) c -> h d c", h=heads))
        pooled_BQC = attention.out_proj(rearrange(values, "b q h d -> b q (h d)") + value_bias)
        vectors: Tensor = pooled_BQC.mean(dim=1)
        return vectors


class Probe(nn.Module):
    """A pooling, if it has parameters, and one linear layer.

    Inputs of the linear layer are standardised by running statistics without parameters, so that one learning rate fits
    all encoders (He et al., 2022, for linear probes).

    Args:
        pooling: One of `POOLINGS`; mean and maximum are given pooled.
        width: Channels of a token.
        heads: Attention heads.
        findings: Outputs.
    """

    def __init__(self, pooling: str, *, width: int, heads: int, findings: int) -> None:
        super().__init__()
        queries = {"learned-query": 1, "mean-query": 0, "four-queries": 4}
        self.pool = AttentionPool(width, heads, queries[pooling]) if pooling in ATTENTION else nn.Identity()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.linear = nn.Linear(width, findings)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, F) of pooled vectors (B, C), or of tokens (B, N, C) where attention pools them."""
        logits: Tensor = self.linear(self.norm(self.pool(inputs)))
        return logits
