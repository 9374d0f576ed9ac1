"""Encoded: what the model makes of a batch, computed once and shared by all objectives."""

from __future__ import annotations

import dataclasses

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
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
        scale: Inverse temperature, a scalar.
    """

    image: Tensor
    tokens: Tensor
    report: Tensor
    affirming: Tensor
    denying: Tensor
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
        scale=scale,
        **pairs,
    )
