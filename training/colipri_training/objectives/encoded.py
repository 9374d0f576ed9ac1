"""Encoded: what the model makes of a batch, computed once and shared by all objectives."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.pooling import MeanQueryPool
from colipri_training.data.batches import Batch


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """L2-normalised embeddings in the joint space. B volumes, K tokens, E channels, F findings, P pairs.

    Args:
        image: (B, E) pooled.
        tokens: (B, K, E) dense.
        report: (B, E).
        affirming: (P, F, E).
        denying: (P, F, E).
        attention: (B, K) share of the pooled vector that each token makes up, mean of the pooler's heads.
        scale: Inverse temperature, a scalar.
    """

    image: Tensor
    tokens: Tensor
    report: Tensor
    affirming: Tensor
    denying: Tensor
    attention: Tensor
    scale: Tensor


def encode(model: ColipriModel, batch: Batch, scale: Tensor) -> Encoded:
    """Encode a batch, tokens outside `batch.keep` left out.

    Args:
        model: The model.
        batch: The inputs.
        scale: Inverse temperature.
    """
    encoder = model.image_encoder
    raw = model.encode_tokens(batch.images, batch.keep)
    weight = rearrange(encoder.projector.weight, "e c 1 1 1 -> e c")
    projected = F.linear(raw, weight, encoder.projector.bias)
    pairs = {}
    for name, (ids, mask) in {"affirming": batch.affirming, "denying": batch.denying}.items():
        vectors = model.encode_text(ids, mask).float()
        pairs[name] = rearrange(vectors, "(p f) e -> p f e", f=batch.findings.shape[1])
    return Encoded(
        image=F.normalize(encoder.pooler(projected).float(), dim=-1),
        tokens=F.normalize(encoder.pooler.dense(projected).float(), dim=-1),
        report=model.encode_text(*batch.reports).float(),
        attention=pooling_attention(encoder.pooler, projected.float()),
        scale=scale,
        **pairs,
    )


def pooling_attention(pooler: MeanQueryPool, tokens: Tensor) -> Tensor:
    """Attention of the mean query over the tokens, averaged over the heads.

    Args:
        pooler: The image pooler.
        tokens: (B, K, E) projected tokens.

    Returns:
        (B, K), summing to 1 over the tokens.
    """
    width, heads = pooler.attn.embed_dim, pooler.attn.num_heads
    with torch.autocast(tokens.device.type, enabled=False):
        weight, bias = pooler.attn.in_proj_weight[: 2 * width], pooler.attn.in_proj_bias[: 2 * width]
        query = F.linear(tokens.mean(dim=1), weight[:width], bias[:width])
        key = F.linear(tokens, weight[width:], bias[width:])
        query = rearrange(query, "b (h d) -> b h d", h=heads)
        key = rearrange(key, "b k (h d) -> b h k d", h=heads)
        logits = torch.einsum("bhd,bhkd->bhk", query, key) * (width // heads) ** -0.5
        return logits.softmax(dim=-1).mean(dim=1)
