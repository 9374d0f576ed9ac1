"""Encoded: what the network makes of a batch, computed once and shared by all objectives."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.pooling import MeanQueryPool
from colipri_training.data.batch import Batch
from colipri_training.data.batch import Text
from colipri_training.objectives.outputs import Outputs


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoded(Outputs):
    """L2-normalised embeddings in the joint space, and losses of single volumes.

    B volumes, K tokens, E channels, F findings, P pairs, S statements, R volumes to reconstruct. What no objective of
    the run needs is None.

    Args:
        image: (B, E) pooled.
        tokens: (B, K, E) dense.
        report: (B, E).
        affirming: (P, F, E).
        denying: (P, F, E).
        opposition: (B, S, E) vector of each statement of a volume's own less that of its opposite.
        attention: (B, K) share of the pooled vector that each token makes up, mean of the pooler's heads.
        scale: Inverse temperature, a scalar.
        writing: (B,) negative log-likelihood of each target report, summed over its word pieces.
        reconstruction: (R,) mean squared error over the hidden voxels of each volume.
    """

    of_no_volume: ClassVar[tuple[str, ...]] = ("affirming", "denying", "scale")

    image: Tensor
    report: Tensor
    scale: Tensor
    tokens: Tensor | None = None
    affirming: Tensor | None = None
    denying: Tensor | None = None
    opposition: Tensor | None = None
    attention: Tensor | None = None
    writing: Tensor | None = None
    reconstruction: Tensor | None = None


def encode(
    model: ColipriModel,
    batch: Batch,
    raw: Tensor,
    scale: Tensor,
    *,
    dense: bool = True,
    attention: bool = True,
) -> Encoded:
    """Bring raw tokens and texts of a batch into the joint space.

    Args:
        model: The model.
        batch: The inputs.
        raw: (B, K, C) raw tokens of the volumes.
        scale: Inverse temperature.
        dense: Whether to bring the tokens there too.
        attention: Whether to work out the pooler's attention.
    """
    encoder = model.image_encoder
    projected = F.linear(raw, rearrange(encoder.projector.weight, "e c 1 1 1 -> e c"), encoder.projector.bias)
    findings = batch.findings.shape[1]
    return Encoded(
        image=F.normalize(encoder.pooler(projected).float(), dim=-1),
        report=model.encode_text(*batch.reports).float(),
        scale=scale,
        tokens=F.normalize(encoder.pooler.dense(projected).float(), dim=-1) if dense else None,
        attention=pooling_attention(encoder.pooler, projected.float()) if attention else None,
        affirming=_sentences(model, batch.affirming, findings),
        denying=_sentences(model, batch.denying, findings),
        opposition=_opposition(model, batch.statements),
    )


def _sentences(model: ColipriModel, text: Text | None, findings: int) -> Tensor | None:
    if text is None:
        return None
    return rearrange(model.encode_text(*text).float(), "(p f) e -> p f e", f=findings)


def _opposition(model: ColipriModel, statements: Text | None) -> Tensor | None:
    """Each statement less its opposite, (B, S, E)."""
    if statements is None:
        return None
    ids, mask = (rearrange(tensor, "b s l -> (b s) l") for tensor in statements)
    vectors = rearrange(model.encode_text(ids, mask).float(), "(b o s) e -> b o s e", b=len(statements[0]), o=2)
    return vectors[:, 0] - vectors[:, 1]


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
