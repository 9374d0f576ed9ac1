"""What a model knows before the first step: patches of its data, and which sentences say the same."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.encoder import PatchEmbedding
from colipri_training.data.batches import Tokenize
from colipri_training.data.text import SentenceBank

_FLOOR = 1e-3
_GAIN = 0.5
_SENTENCE_SCALE = 10.0
_SENTENCE_RATE = 5e-4
_SENTENCE_LENGTH = 40


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
