"""Exact attention in query chunks, for inference in bfloat16 on a CPU.

torch's own CPU kernel for `scaled_dot_product_attention` gains nothing from bfloat16. Here each head is two matrix
products in bfloat16, which CPUs with such instructions run at about twice the speed of float32, with the scores of one
chunk of queries in between; `benchmarks/encoder.py` measures what it brings. Softmax is computed without subtracting
the row maximum where the norms of queries and keys prove that no exponential can overflow: then a row is
2^(q . k') / sum 2^(q . k'), and one more column of ones beside the values yields the sum. Elsewhere torch's softmax is
used. Naming: B batch, H heads, N tokens, D channels of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_TOKENS = 1024
"""From here on it takes 0.6 to 0.65 of the time of torch's kernel; the two meet near 400 tokens (measured on one thread
of a CPU with avx512_bf16)."""

_CHUNK = 1152
"""Queries at once: 12 chunks for the published 13,824 tokens; 768 to 2304 measure alike."""

_MAX_EXPONENT = 100.0
"""Far from bfloat16's largest exponent of 127, with room for a sum of 2^27 terms."""

_ONES = 8


def suits_blocks(q_BHND: Tensor) -> bool:
    """Whether `blocked_attention` is the faster choice: bfloat16 on a CPU, many tokens, no gradient."""
    return (
        q_BHND.device.type == "cpu"
        and q_BHND.dtype == torch.bfloat16
        and q_BHND.shape[-2] >= MIN_TOKENS
        and not torch.is_grad_enabled()
    )


def blocked_attention(q_BHND: Tensor, k_BHND: Tensor, v_BHND: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v, (B, H, N, D), without gradient.

    Args:
        q_BHND: Queries.
        k_BHND: Keys.
        v_BHND: Values.
    """
    out_BHND = torch.empty(q_BHND.shape, dtype=q_BHND.dtype)
    scaled_BHND = k_BHND * (math.log2(math.e) / math.sqrt(q_BHND.shape[-1]))
    for q_ND, k_ND, v_ND, out_ND in zip(
        *(t.flatten(0, 1) for t in (q_BHND, scaled_BHND, v_BHND, out_BHND)), strict=True
    ):
        largest = q_ND.float().norm(dim=-1).max() * k_ND.float().norm(dim=-1).max()
        attend = _attend_unshifted if largest <= _MAX_EXPONENT else _attend_softmax
        attend(q_ND.contiguous(), k_ND.contiguous(), v_ND, out_ND)
    return out_BHND


def _attend_unshifted(q_ND: Tensor, k_ND: Tensor, v_ND: Tensor, out_ND: Tensor) -> None:
    """Fill `out_ND`; the caller vouches that no |q . k| exceeds `_MAX_EXPONENT`."""
    values = torch.cat([v_ND, v_ND.new_ones(len(v_ND), _ONES)], dim=1)
    width = v_ND.shape[1]
    scores = q_ND.new_empty(_CHUNK, len(k_ND))
    for q, out in zip(q_ND.split(_CHUNK), out_ND.split(_CHUNK), strict=True):
        weights = torch.mm(q, k_ND.T, out=scores[: len(q)]).exp2_()
        sums = weights @ values
        torch.div(sums[:, :width], sums[:, width:][:, :1], out=out)


def _attend_softmax(q_ND: Tensor, k_ND: Tensor, v_ND: Tensor, out_ND: Tensor) -> None:
    """Fill `out_ND` for scores of any size."""
    scores, weights = (q_ND.new_empty(_CHUNK, len(k_ND)) for _ in range(2))
    values = v_ND.contiguous()
    for q, out in zip(q_ND.split(_CHUNK), out_ND.split(_CHUNK), strict=True):
        torch.mm(q, k_ND.T, out=scores[: len(q)]).mul_(math.log(2))
        torch.softmax(scores[: len(q)], dim=-1, out=weights[: len(q)])
        torch.mm(weights[: len(q)], values, out=out)
