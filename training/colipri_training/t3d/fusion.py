"""Image features that attend to a report: the fusion of both pretext tasks, and features that a sentence asks for.

Naming: B volumes, N image features of a volume, C their channels, L word pieces, H channels of the text, S sentences,
V sub-volumes, E channels of contrasted vectors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from einops import repeat
from torch import Tensor
from torch import nn

from colipri_training.t3d.config import FusionConfig

_WAVES = 4
"""Waves for each coordinate; the longest is twice as long as the body."""


class FusionLayer(nn.Module):
    """H = F + CrossAttention(LN(F), T), then H + MLP(LN(H)); image features do not attend to one another.

    So a feature's result depends on itself and the report alone, and features of any number of volumes can be told
    the same report in one pass.

    Args:
        width: C.
        text_width: H.
        config: Heads and hidden width.
    """

    def __init__(self, width: int, text_width: int, config: FusionConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, config.heads, kdim=text_width, vdim=text_width, batch_first=True)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, config.hidden * width), nn.GELU(), nn.Linear(config.hidden * width, width)
        )

    def forward(self, x_BNC: Tensor, text_BLH: Tensor, padding_BL: Tensor) -> Tensor:
        """Return features that know the report, (B, N, C); `padding_BL` is true where the text is none."""
        told, _ = self.attention(self.norm(x_BNC), text_BLH, text_BLH, key_padding_mask=padding_BL, need_weights=False)
        x_BNC = x_BNC + told
        fused: Tensor = x_BNC + self.mlp(self.norm_mlp(x_BNC))
        return fused


class TextFusion(nn.Module):
    """A stack of fusion layers.

    Args:
        width: C.
        text_width: H.
        config: How many, and their sizes.
    """

    def __init__(self, width: int, text_width: int, config: FusionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(width, text_width, config) for _ in range(config.layers))

    def forward(self, x_BNC: Tensor, text_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """Tell features a report each.

        Args:
            x_BNC: Image features.
            text_BLH: Token states of the reports.
            mask_BL: 1 at tokens, 0 at padding.

        Returns:
            (B, N, C).
        """
        padding = mask_BL == 0
        for layer in self.layers:
            x_BNC = layer(x_BNC, text_BLH, padding)
        return x_BNC


class Places(nn.Module):
    """What is added to features that are to know where they lie: waves of their place in the body and in the crop.

    Args:
        width: C.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rates", torch.pi * 2.0 ** torch.arange(_WAVES) / 2, persistent=False)
        self.project = nn.Linear(2 * 2 * 3 * _WAVES, width)

    def forward(self, centres_B3: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Return (B, N, C) of N features that fill crops evenly.

        Args:
            centres_B3: Middles of the crops, see `variation.in_body`.
            grid: Features along the axes; the last is fastest in N.
        """
        axes = [(2 * torch.arange(size, device=centres_B3.device) + 1) / size - 1 for size in grid]
        inner_N3 = torch.cartesian_prod(*axes)
        count, features = len(centres_B3), len(inner_N3)
        both = torch.cat(
            [repeat(centres_B3, "b a -> b n a", n=features), repeat(inner_N3, "n a -> b n a", b=count)], dim=-1
        )
        angles = rearrange(both[..., None] * self.rates, "b n a k -> b n (a k)")
        placed: Tensor = self.project(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return placed


class Projection(nn.Sequential):
    """Features to the unit vectors that are contrasted: a layer norm and an MLP of one hidden layer.

    Args:
        width: Channels of the features.
        embed_dim: Channels of the vectors.
    """

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return unit vectors in float32, (..., E), of features (..., C)."""
        return F.normalize(super().forward(x).float(), dim=-1)


class SentenceGuide(nn.Module):
    """What a sentence finds in a sub-volume: attention with the sentence as query, and nothing of it in the result.

    The sentence decides where is looked, not what is seen there, so that vectors of one sentence differ by the image
    alone.

    Args:
        width: C.
        text_width: H.
        config: Heads, and E.
    """

    def __init__(self, width: int, text_width: int, config: FusionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(text_width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.project = Projection(width, config.embed_dim)

    def forward(self, sentences_BSH: Tensor, features_JVNC: Tensor) -> Tensor:
        """Ask every sentence of this process of every scan.

        Args:
            sentences_BSH: Vectors of the sentences.
            features_JVNC: Features of the sub-volumes of all scans.

        Returns:
            Unit vectors (B, S, J, V, E).
        """
        features = self.norm(features_JVNC)
        query = rearrange(self.query(sentences_BSH), "b s (h d) -> b s h d", h=self.heads)
        key = rearrange(self.key(features), "j v n (h d) -> j v n h d", h=self.heads)
        value = rearrange(features, "j v n (h d) -> j v n h d", h=self.heads)
        weights = (torch.einsum("bshd,jvnhd->bsjvhn", query, key) * query.shape[-1] ** -0.5).softmax(dim=-1)
        found = torch.einsum("bsjvhn,jvnhd->bsjvhd", weights.to(value.dtype), value)
        vectors: Tensor = self.project(rearrange(found, "b s j v h d -> b s j v (h d)"))
        return vectors
