"""Our zero-shot scores are the official probabilities; on dense maps ours fix the axis of the softmax."""

from __future__ import annotations

import torch
from official import SHAPE
from official import Pair
from official import random_images
from torch import Tensor

TOLERANCE = 1e-5


def prompts() -> tuple[Tensor, Tensor]:
    ids = torch.randint(5, 97, (4, 12), generator=torch.Generator().manual_seed(4))
    mask = (torch.arange(12) < torch.tensor([[4], [12], [7], [9]])).long()
    return ids * mask, mask


@torch.no_grad()
def test_probabilities_are_equal(pair: Pair) -> None:
    images = random_images(SHAPE, batch=3)
    flags = {"project": True, "pool": True, "normalize": True}
    expected = pair.official.classify(
        pair.official.encode_image(images, **flags), pair.official.encode_text(*prompts())
    )
    ours = pair.ours.probabilities(pair.ours.encode_image(images, **flags), pair.ours.encode_text(*prompts()))
    assert ours.shape == (3, 4)
    assert expected.std() > 0.05
    assert (ours - expected).abs().max() <= TOLERANCE


@torch.no_grad()
def test_dense_similarities_are_equal(pair: Pair) -> None:
    images = random_images(SHAPE)
    flags = {"project": True, "pool": False, "normalize": True}
    text = pair.official.encode_text(*prompts())
    expected = pair.official.compute_similarities(pair.official.encode_image(images, **flags), text)
    ours = pair.ours.similarity(pair.ours.encode_image(images, **flags), text)
    assert ours.shape == (1, 4, 4, 6, 5)
    assert (ours - expected).abs().max() <= TOLERANCE


@torch.no_grad()
def test_dense_probabilities_sum_to_one_over_prompts(pair: Pair) -> None:
    """The official ``classify`` normalises a dense map over its last spatial axis instead."""
    grid = pair.ours.encode_image(random_images(SHAPE), pool=False, normalize=True)
    ours = pair.ours.probabilities(grid, pair.ours.encode_text(*prompts()))
    assert torch.allclose(ours.sum(dim=1), torch.ones(1, 4, 6, 5), atol=1e-5)
