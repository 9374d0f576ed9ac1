"""ReportDecoder: writes a report, word piece by word piece, while looking at the encoder's patch tokens.

A causal pre-norm transformer whose every layer attends to its own past and then to the volume. The published package
has no such decoder; shape and positions are our choice. The memory gets the place of each token on the patch grid,
since the encoder's rotary positions are relative and a report must say where. Generation is in `report_generation`.
Naming: B reports, L word pieces, P past word pieces, M memory tokens, C raw channels, W decoder width, V vocabulary,
H heads, D channels of a head, xyz patch grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch import nn
from torch.utils.checkpoint import checkpoint

from colipri_core.model.config import JsonConfig
from colipri_core.model.config import check_positive

_LINEAR_STD = 0.02
_LONGEST_WAVE = 64.0
"""Patches; longer than any patch grid here, so that no two places look alike."""


@dataclass(frozen=True, kw_only=True)
class ReportDecoderConfig(JsonConfig):
    """Sizes of the decoder; the defaults are ours for the published encoder.

    Attributes:
        vocab_size: Number of word pieces; the tokenizer is the text encoder's.
        memory_width: Channels of the encoder's raw tokens.
        width: Channels of a word piece inside the decoder; a multiple of ``heads`` and of 6.
        layers: Number of layers.
        heads: Attention heads.
        hidden: Hidden channels of a layer's feed-forward part.
        max_length: Longest report in word pieces, [CLS] and [SEP] included.
        memory_pool: Edge of the cubes of patches that are averaged to one memory token where the whole grid is there.
        dropout: Dropout of embeddings and residual branches during training.
    """

    vocab_size: int = 30522
    memory_width: int = 864
    width: int = 768
    layers: int = 6
    heads: int = 12
    hidden: int = 3072
    max_length: int = 512
    memory_pool: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes no decoder can have."""
        names = ("vocab_size", "memory_width", "width", "layers", "heads", "hidden", "max_length", "memory_pool")
        check_positive(self, names)
        if self.width % self.heads or self.width % 6:
            msg = f"width must be a multiple of heads ({self.heads}) and of 6, got {self.width}"
            raise ValueError(msg)
        if not 0 <= self.dropout < 1:
            msg = f"dropout must lie in [0, 1), got {self.dropout}"
            raise ValueError(msg)


class KeysValues(NamedTuple):
    """Keys and values of one attention, each (B, H, length, D)."""

    keys: Tensor
    values: Tensor

    def select(self, rows: Tensor) -> KeysValues:
        """Return the given rows of the batch, in that order."""
        return KeysValues(self.keys.index_select(0, rows), self.values.index_select(0, rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class DecoderState:
    """What a layer-wise cache holds between two word pieces.

    Attributes:
        memory: For each layer, keys and values of the volume.
        past: For each layer, keys and values of the word pieces so far; empty before the first.
    """

    memory: tuple[KeysValues, ...]
    past: tuple[KeysValues, ...] = ()

    @property
    def length(self) -> int:
        """Word pieces so far."""
        return self.past[0].keys.shape[2] if self.past else 0

    def select(self, rows: Tensor) -> DecoderState:
        """Return the state of the given rows of the batch, in that order (beams that go on)."""
        return DecoderState(
            memory=tuple(pair.select(rows) for pair in self.memory), past=tuple(pair.select(rows) for pair in self.past)
        )


class Attention(nn.Module):
    """Multi-head attention whose keys and values may come from elsewhere and may be kept.

    Args:
        width: Channels.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def remember(self, x_BMW: Tensor) -> KeysValues:
        """Return keys and values of what is attended to."""
        keys, values = rearrange(self.key_value(x_BMW), "b m (two h d) -> two b h m d", two=2, h=self.heads)
        return KeysValues(keys, values)

    def forward(self, x_BLW: Tensor, known: KeysValues, *, causal: bool = False) -> Tensor:
        """Attend from (B, L, W) to `known`; `causal` only where L positions attend to the same L."""
        queries = rearrange(self.query(x_BLW), "b l (h d) -> b h l d", h=self.heads)
        attended = F.scaled_dot_product_attention(queries, known.keys, known.values, is_causal=causal)
        out: Tensor = self.out(rearrange(attended, "b h l d -> b l (h d)"))
        return out

    def weights(self, x_BLW: Tensor, known: KeysValues) -> Tensor:
        """Return how much each position attends to what is known, mean over heads: (B, L, M), summing to 1 over M."""
        queries = rearrange(self.query(x_BLW), "b l (h d) -> b h l d", h=self.heads)
        scores = torch.einsum("bhld,bhmd->bhlm", queries, known.keys) / math.sqrt(queries.shape[-1])
        return scores.softmax(dim=-1).mean(dim=1)


class DecoderLayer(nn.Module):
    """Self-attention over the past, cross-attention to the volume, feed-forward; each pre-norm and residual.

    Args:
        config: Sizes of the decoder.
    """

    def __init__(self, config: ReportDecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.own = Attention(width, config.heads)
        self.cross = Attention(width, config.heads)
        self.mlp = nn.Sequential(nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, width))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLW: Tensor, memory: KeysValues, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        """Return the new word pieces (B, L, W) and the past with them.

        With a past, L must be 1: one word piece attends to all before it.
        """
        normalised = self.norm1(x_BLW)
        known = self.own.remember(normalised)
        if past is not None:
            known = KeysValues(*(torch.cat(pair, dim=2) for pair in zip(past, known, strict=True)))
        x_BLW = x_BLW + self.dropout(self.own(normalised, known, causal=past is None))
        x_BLW = x_BLW + self.dropout(self.cross(self.norm2(x_BLW), memory))
        return x_BLW + self.dropout(self.mlp(self.norm3(x_BLW))), known


class ReportDecoder(nn.Module):
    """Raw patch tokens and the word pieces so far to the logits of the next ones.

    Args:
        config: Sizes.

    Attributes:
        activation_checkpointing: Recompute each layer in the backward pass instead of storing its activations.
    """

    def __init__(self, config: ReportDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.max_length, config.width)
        self.memory_norm = nn.LayerNorm(config.memory_width)
        self.memory_in = nn.Linear(config.memory_width, config.width)
        self.memory_place = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.activation_checkpointing = False
        self._initialise()

    def memory(self, tokens_BNC: Tensor, grid: tuple[int, int, int], keep: Tensor | None = None) -> Tensor:
        """Turn the encoder's tokens into what the layers attend to.

        Args:
            tokens_BNC: Raw tokens, row-major over the grid, or only the kept ones.
            grid: Shape of the patch grid.
            keep: (B, K) indices of the tokens if only some are there; these are not averaged.

        Returns:
            (B, M, W).
        """
        places = _places(grid, tokens_BNC.device)
        if keep is not None:
            places = places[keep]
        elif self.config.memory_pool > 1:
            tokens_BNC = self._pool(tokens_BNC, grid)
            places = self._pool(places[None], grid)
        waves = _waves(places, self.config.width).to(tokens_BNC.dtype)
        memory: Tensor = self.memory_in(self.memory_norm(tokens_BNC)) + self.memory_place(waves)
        return memory

    def start(self, memory_BMW: Tensor) -> DecoderState:
        """Return the state before the first word piece."""
        return DecoderState(memory=tuple(layer.cross.remember(memory_BMW) for layer in self._layers()))

    def forward(self, ids_BL: Tensor, memory_BMW: Tensor) -> Tensor:
        """Return the logits of the piece after each given one, (B, L, V); padding only follows what it pads."""
        logits, _ = self.advance(ids_BL, self.start(memory_BMW))
        return logits

    def advance(self, ids_BL: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Go on by some word pieces.

        Args:
            ids_BL: The pieces; one, unless the state holds none yet.
            state: From `start` or the last call.

        Returns:
            Logits of the piece after each, (B, L, V), and the next state.

        Raises:
            ValueError: If the report would become longer than ``max_length``, or several pieces follow others.
        """
        length, start = ids_BL.shape[1], state.length
        if start + length > self.config.max_length or (start and length > 1):
            msg = (
                f"a report grows one piece at a time to at most {self.config.max_length}, "
                f"got {length} pieces after {start}"
            )
            raise ValueError(msg)
        steps = torch.arange(start, start + length, device=ids_BL.device)
        x_BLW = self.dropout(self.words(ids_BL) + self.positions(steps))
        past = []
        for index, layer in enumerate(self._layers()):
            before = state.past[index] if state.past else None
            if self.activation_checkpointing and self.training:
                x_BLW, known = checkpoint(layer, x_BLW, state.memory[index], before, use_reentrant=False)
            else:
                x_BLW, known = layer(x_BLW, state.memory[index], before)
            past.append(known)
        logits = F.linear(self.norm(x_BLW), self.words.weight)
        return logits, DecoderState(memory=state.memory, past=tuple(past))

    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def _pool(self, values_BNC: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Average cubes of patches; a rim that fills no cube is averaged over what there is of it."""
        volume = rearrange(values_BNC, "b (x y z) c -> b c x y z", x=grid[0], y=grid[1], z=grid[2])
        pooled = F.avg_pool3d(volume, self.config.memory_pool, ceil_mode=True)
        return rearrange(pooled, "b c x y z -> b (x y z) c")

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=_LINEAR_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            for layer in self._layers():
                for last in (layer.own.out, layer.cross.out, layer.mlp[-1]):
                    assert isinstance(last, nn.Linear)
                    last.weight.div_(math.sqrt(3 * self.config.layers))


def _places(grid: tuple[int, int, int], device: torch.device) -> Tensor:
    """Coordinates of every patch in patches, (N, 3) float32, row-major."""
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)


def _waves(places: Tensor, width: int) -> Tensor:
    """Sines and cosines of coordinates (..., 3) at ``width / 6`` wavelengths an axis: (..., width)."""
    count = width // 6
    steps = torch.arange(count, dtype=torch.float32, device=places.device) / max(count - 1, 1)
    frequencies = 2 * math.pi / (2 * (_LONGEST_WAVE / 2) ** steps)
    angles = (places[..., None] * frequencies).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
