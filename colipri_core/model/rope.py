"""3D rotary position embedding of the image encoder.

With ``n = head_dim / 6`` frequencies ``f_k = 10000^(-k / n)`` shared by the three axes, the token at grid position
``(a0, a1, a2)`` has the angles ``[a0 f_0 .. a0 f_(n-1), a1 f_0 .., a2 f_0 ..]``; each angle turns one interleaved
pair of channels of q and k. Positions are integers that start at 0 on every grid, whatever its size: a table for
another grid is a new table, never a rescaled one. Tokens are in row-major order over ``(a0, a1, a2)``.

Naming: B batch, H heads, N tokens, D channels of a head, P = D / 2 channel pairs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from colipri_core.model.config import ROPE_MULTIPLE

_BASE = 10000.0


class RopeTable(NamedTuple):
    """Sine and cosine of every angle: float32, (N, P) for a whole grid, (B, N, P) for chosen tokens."""

    sin: Tensor
    cos: Tensor

    def select(self, keep: Tensor) -> RopeTable:
        """Return the entries of chosen tokens.

        Args:
            keep: (B, K) int64 indices into the N tokens of the grid.

        Returns:
            A table of shape (B, K, P).
        """
        return RopeTable(self.sin[keep], self.cos[keep])


@lru_cache(maxsize=8)
def rope_table(grid: tuple[int, int, int], head_dim: int, device: torch.device) -> RopeTable:
    """Return the table for a patch grid, built on first use.

    Args:
        grid: Number of tokens along each axis.
        head_dim: Channels of one attention head, a multiple of 6.
        device: Where the table lives.

    Returns:
        Sine and cosine, each (N, head_dim / 2) with N the product of ``grid``.
    """
    with torch.inference_mode(mode=False):  # kept for later calls, which may need gradients
        num_bands = head_dim // ROPE_MULTIPLE
        bands = 1.0 / _BASE ** (torch.arange(num_bands, dtype=torch.float32, device=device) / num_bands)
        axes = [torch.arange(n, dtype=torch.float32, device=device) for n in grid]
        positions = rearrange(torch.stack(torch.meshgrid(*axes, indexing="ij")), "a x y z -> (x y z) a 1")
        angles_NP = rearrange(positions * bands, "n a band -> n (a band)")
        return RopeTable(angles_NP.sin(), angles_NP.cos())


def rotate(x_BHND: Tensor, table: RopeTable) -> Tensor:
    """Turn the interleaved channel pairs of queries or keys by the angles of their positions.

    The rotation is computed in the table's float32 and returned in the input's own dtype.

    Args:
        x_BHND: Queries or keys, (B, H, N, D).
        table: Angles of the N tokens, (N, P) or (B, N, P).

    Returns:
        A tensor of the same shape and dtype.
    """
    sin, cos = (rearrange(t, "b n p -> b 1 n p") if t.ndim == x_BHND.ndim - 1 else t for t in table)
    even, odd = rearrange(x_BHND.to(sin.dtype), "b h n (p pair) -> pair b h n p", pair=2)
    turned = (torch.addcmul(even * cos, odd, sin, value=-1), torch.addcmul(odd * cos, even, sin))
    pairs = torch.stack([half.type_as(x_BHND) for half in turned], dim=-1)
    return rearrange(pairs, "b h n p pair -> b h n (p pair)")
