"""What a model knows before the first step: patches of its data, and which sentences say the same."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.encoder import PatchEmbedding
from colipri_core.model.pooling import PeakPool
from colipri_training.data.batches import Tokenize
from colipri_training.data.text import SentenceBank

_FLOOR = 1e-3
_GAIN = 0.5
_SENTENCE_SCALE = 10.0
_SENTENCE_RATE = 5e-4
_SENTENCE_LENGTH = 40
_WORDINGS = 16
_PEAK_WEIGHT = 1.0
_RIDGE = 0.1
_RECALLED = 0.3
"""By how much a map that is sure moves a token, over the length of a token in the dense map."""


@torch.no_grad()
def whiten(embedding: PatchEmbedding, patches: Tensor) -> None:
    """Start a patch embedding from the principal components of real patches, each scaled to the same variance.

    From random weights every channel is a mixture that the strongest component, the mean intensity, dominates, and a
    short training spends itself on finding the others. Components with little variance are scaled up less, so that
    noise is not (our choice).

    Args:
        embedding: Changed in place.
        patches: (S, D) samples of what the convolution reads, D its channels times the voxels of a patch.
    """
    weight = embedding.proj.weight
    mean = patches.mean(dim=0)
    centred = patches - mean
    directions, variances, _ = torch.linalg.svd(centred.T @ centred / len(patches))
    count = min(len(weight), len(directions))
    rows = _GAIN * (directions[:, :count] / (variances[:count] + _FLOOR).sqrt()).T
    weight[:count] = rows.reshape(count, *weight.shape[1:])
    embedding.proj.bias[:count] = -rows @ mean


def align_sentences(
    model: ColipriModel, bank: SentenceBank, tokenize: Tokenize, *, steps: int, seed: int
) -> list[float]:
    """Teach the text encoder which sentences say the same, so that the images meet directions that mean something.

    In a step every finding is affirmed and denied twice, in different words. Each sentence must lie nearer to the
    other wording of its own statement than to those of all others (InfoNCE over 2F statements), and the difference
    of its two sides, which is what zero-shot classification projects on, nearer to that of its own finding than to
    those of the others (InfoNCE over F findings). Without the second part all differences end up as one axis from
    "no" to "yes". The published model starts from a text encoder pretrained on radiology reports instead; this is our
    choice for phantoms.

    Args:
        model: Its text encoder is changed in place.
        bank: The sentences.
        tokenize: The run's tokenizer.
        steps: Optimiser steps.
        seed: Decides the sentences.

    Returns:
        The loss of every step.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.text_encoder.parameters(), lr=_SENTENCE_RATE, weight_decay=0.0)
    model.train()
    losses = []
    for step in range(steps):
        rng = np.random.default_rng([seed, 2, step])
        first, second = (_statements(model, bank, tokenize, rng) for _ in range(2))
        loss = _match(first, second) + _match(_differences(first), _differences(second))
        for group in optimizer.param_groups:
            group["lr"] = _SENTENCE_RATE * min(1.0, (step + 1) / 50, (steps - step) / 50)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def point_at_findings(model: ColipriModel, bank: SentenceBank, tokenize: Tokenize, *, seed: int) -> None:
    """Start what is new in the image encoder from the directions of the findings, as the text encoder has them.

    The recall of the stem starts so that a token whose map shows a finding is moved along the direction of that
    finding, and along no other; the peaks of the pooler start as these directions. Both could be learned, but from
    nothing that takes longer than all the rest. Our choice.

    Args:
        model: Its image encoder is changed in place; its stem has a map for each finding, its pooler as many peaks.
        bank: The sentences.
        tokenize: The run's tokenizer.
        seed: Decides the sentences.

    Raises:
        ValueError: If the pooler has another number of peaks.
    """
    model.eval()  # no dropout in what the sentences mean
    rng = np.random.default_rng([seed, 5])
    drawn = [_statements(model, bank, tokenize, rng).chunk(2) for _ in range(_WORDINGS)]
    directions = torch.stack([affirming - denying for affirming, denying in drawn]).mean(dim=0)
    encoder = model.image_encoder
    pooler, stem = encoder.pooler, encoder.backbone.down_projection.stem
    if isinstance(pooler, PeakPool):
        if len(pooler.directions) != len(directions):
            found = len(pooler.directions)
            msg = f"Expected {len(directions)} peaks, one a finding, found {found}; set model.pooler_peaks."
            raise ValueError(msg)
        pooler.directions.copy_(F.normalize(directions, dim=1))
        pooler.weight.fill_(_PEAK_WEIGHT)
    if stem is not None and stem.recall is not None:
        values = pooler.attn.out_proj.weight @ pooler.attn.in_proj_weight[2 * pooler.attn.embed_dim :]
        dense = values @ encoder.projector.weight.flatten(1)
        wanted = _RECALLED * dense.norm() * torch.linalg.pinv(directions)
        stem.recall_as(_ridge_inverse(dense) @ wanted)


def _ridge_inverse(matrix: Tensor) -> Tensor:
    """An inverse that leaves out what the matrix hardly lets through."""
    square = matrix @ matrix.T
    floor = _RIDGE * square.diagonal().mean() * torch.eye(len(square), device=square.device)
    return matrix.T @ torch.linalg.inv(square + floor)


def _statements(model: ColipriModel, bank: SentenceBank, tokenize: Tokenize, rng: np.random.Generator) -> Tensor:
    """Vectors (2F, E) of one affirmation and one denial of every finding."""
    device = next(model.parameters()).device
    ids, mask = tokenize([text for side in bank.draw_pairs(rng) for text in side], _SENTENCE_LENGTH)
    return model.encode_text(ids.to(device), mask.to(device))


def _match(first: Tensor, second: Tensor) -> Tensor:
    """Symmetric InfoNCE between unit vectors (N, E) of the same row."""
    logits = _SENTENCE_SCALE * first @ second.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _differences(sides: Tensor) -> Tensor:
    """Unit vectors (F, E) from the denying to the affirming half of (2F, E)."""
    affirming, denying = sides.chunk(2)
    return F.normalize(affirming - denying, dim=1)
