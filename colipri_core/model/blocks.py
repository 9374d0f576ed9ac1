"""The transformer block of the image encoder: rotary attention, SwiGLU, LayerScale and stochastic depth.

Parameter names are those of the published checkpoint. Naming: B batch, N tokens, C width, H heads, D head channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch import nn

from colipri_core.model.blocked_attention import blocked_attention
from colipri_core.model.blocked_attention import suits_blocks
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.rope import RopeTable
from colipri_core.model.rope import rotate


class RotaryAttention(nn.Module):
    """Multi-head self-attention with rotary positions and a LayerNorm before the output projection.

    Args:
        width: Channels of a token.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BNC: Tensor, rope: RopeTable) -> Tensor:
        """Attend among all tokens; input and output are (B, N, C)."""
        q, k, v = (
            rearrange(p(x_BNC), "b n (h d) -> b h n d", h=self.heads) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, rope), rotate(k, rope)
        attend = blocked_attention if suits_blocks(q) else F.scaled_dot_product_attention
        attended = attend(q, k, v)
        merged: Tensor = self.norm(rearrange(attended, "b h n d -> b n (h d)"))
        projected: Tensor = self.proj(merged)
        return projected


class SwiGLU(nn.Module):
    """Gated feed-forward part with a LayerNorm on the hidden channels.

    Args:
        width: Channels of a token.
        hidden: Hidden channels.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(width, hidden)
        self.fc1_x = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Transform every token; input and output are (B, N, C)."""
        gated = F.silu(self.fc1_g(x_BNC)) * self.fc1_x(x_BNC)
        out: Tensor = self.fc2(self.norm(gated))
        return out


class Block(nn.Module):
    """Pre-norm residual block: ``x + g1 attn(norm1(x))``, then ``x + g2 mlp(norm2(x))``.

    Args:
        config: Sizes of the encoder.
        drop_path: Probability of skipping either residual branch for a sample while training.
    """

    def __init__(self, config: ImageEncoderConfig, *, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(config.width)
        self.attn = RotaryAttention(config.width, config.heads)
        self.gamma_1 = nn.Parameter(torch.full((config.width,), config.layer_scale))
        self.norm2 = nn.LayerNorm(config.width)
        self.mlp = SwiGLU(config.width, config.hidden)
        self.gamma_2 = nn.Parameter(torch.full((config.width,), config.layer_scale))

    def forward(self, x_BNC: Tensor, rope: RopeTable) -> Tensor:
        """Transform the tokens; input and output are (B, N, C)."""
        x_BNC = x_BNC + self._skip(self.gamma_1 * self.attn(self.norm1(x_BNC), rope))
        return x_BNC + self._skip(self.gamma_2 * self.mlp(self.norm2(x_BNC)))

    def _skip(self, branch_BNC: Tensor) -> Tensor:
        """Stochastic depth: drop the branch of whole samples and rescale the rest to keep the mean."""
        if not self.training or self.drop_path == 0:
            return branch_BNC
        keep = 1 - self.drop_path
        mask = branch_BNC.new_empty((branch_BNC.shape[0], 1, 1)).bernoulli_(keep)
        return branch_BNC * mask / keep
