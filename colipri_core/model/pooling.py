"""Mean-query attention pooling, and its value path applied to every token (the dense map).

The pooler has no learned query: the query is the mean of the tokens, keys and values are the tokens. Naming: B batch,
N tokens, E channels of the joint space.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch import nn


class MeanQueryPool(nn.Module):
    """Attention pooling whose query is the (masked) mean of the tokens.

    Args:
        embed_dim: Channels of a token and of the pooled vector.
        heads: Attention heads.
    """

    def __init__(self, embed_dim: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(embed_dim, heads, batch_first=True)

    def forward(self, x_BNE: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Pool a sequence of tokens to one vector.

        Args:
            x_BNE: Tokens, (B, N, E).
            mask_BN: True (or nonzero) where a token counts, (B, N); None if all do.

        Returns:
            Pooled vectors, (B, E), not normalised.

        Raises:
            ValueError: If the mask has another shape or leaves a sequence without tokens.
        """
        valid = None if mask_BN is None else _checked_mask(x_BNE, mask_BN)
        query = rearrange(_mean(x_BNE, valid), "b e -> b 1 e")
        padding = None if valid is None else ~valid
        pooled, _ = self.attn(query, x_BNE, x_BNE, key_padding_mask=padding, need_weights=False)
        vectors: Tensor = rearrange(pooled, "b 1 e -> b e")
        return vectors

    def dense(self, x_BNE: Tensor) -> Tensor:
        """Apply only the value path and the output projection to every token (the MaskCLIP idea).

        The result lies in the same space as the pooled vector. Gradients reach the pooler's parameters.

        Args:
            x_BNE: Tokens; any leading shape, channels last.

        Returns:
            A tensor of the same shape.
        """
        value_rows = slice(2 * self.attn.embed_dim, None)
        weight, bias = self.attn.in_proj_weight, self.attn.in_proj_bias
        values = F.linear(x_BNE, weight[value_rows], bias[value_rows])
        return F.linear(values, self.attn.out_proj.weight, self.attn.out_proj.bias)


class PeakPool(MeanQueryPool):
    """A mean-query pooling that is also told the strongest token along each of some directions.

    However sharp its attention, a pooled vector is a mean, in which a lesion of a single token drowns. With unit
    directions p, learned, and tokens t of the dense map, scaled to unit length,

        pooled = attention pooling, scaled to unit length + sum over k of w_k (max over i of p_k t_i - c_k) p_k.

    Starts as the attention pooling (w = 0). Our addition; not part of the published system.

    Args:
        embed_dim: Channels of a token and of the pooled vector.
        heads: Attention heads.
        peaks: Directions.
    """

    def __init__(self, embed_dim: int, heads: int, *, peaks: int) -> None:
        super().__init__(embed_dim, heads)
        self.directions = nn.Parameter(torch.empty(peaks, embed_dim))
        self.weight = nn.Parameter(torch.zeros(peaks))
        self.typical = nn.Parameter(torch.zeros(peaks))
        nn.init.orthogonal_(self.directions)

    def forward(self, x_BNE: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Pool as `MeanQueryPool` does; the attention's part has unit length."""
        pooled = F.normalize(super().forward(x_BNE, mask_BN), dim=-1)
        directions = F.normalize(self.directions, dim=-1)
        along = F.normalize(self.dense(x_BNE), dim=-1) @ directions.T
        if mask_BN is not None:
            along = along.masked_fill(~rearrange(_checked_mask(x_BNE, mask_BN), "b n -> b n 1"), -1.0)
        return pooled + (self.weight * (along.amax(dim=1) - self.typical)) @ directions


def _checked_mask(x_BNE: Tensor, mask_BN: Tensor) -> Tensor:
    if mask_BN.shape != x_BNE.shape[:2]:
        msg = f"mask must have the shape {tuple(x_BNE.shape[:2])} of the sequence, got {tuple(mask_BN.shape)}"
        raise ValueError(msg)
    valid = mask_BN.to(device=x_BNE.device).bool()
    if not bool(valid.any(dim=1).all()):
        msg = "mask must leave at least one token in every sequence, got one without any"
        raise ValueError(msg)
    return valid


def _mean(x_BNE: Tensor, valid_BN: Tensor | None) -> Tensor:
    if valid_BN is None:
        return x_BNE.mean(dim=1)
    weights = rearrange(valid_BN, "b n -> b n 1").to(x_BNE.dtype)
    return (x_BNE * weights).sum(dim=1) / weights.sum(dim=1)
