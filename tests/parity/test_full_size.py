"""The published size: 581 keys, 258,366,240 parameters and the official outputs, at half and at the full edge."""

from __future__ import annotations

import pytest
import torch
from official import build_pair
from official import random_images

from colipri_core.model.config import ModelConfig


@pytest.mark.full_size
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("edge", [96, 192])
@torch.no_grad()
def test_published_size_is_equal(edge: int) -> None:
    shape = (edge, edge, edge)
    pair = build_pair(ModelConfig.published(), shape)
    state = pair.ours.state_dict()
    assert len(state) == 581
    assert sum(p.numel() for p in pair.ours.parameters()) == 258_366_240
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in pair.official.state_dict().items()}

    images = random_images(shape)
    grid, expected = pair.ours.image_features(images), pair.official.encode_image(images)
    assert grid.shape == (1, 864, edge // 8, edge // 8, edge // 8)
    assert (grid - expected).abs().max() <= 1e-5
    dense = pair.official.image_encoder.pooler.to_dense()(pair.official.image_encoder.projector(expected))
    assert (pair.ours.dense(grid) - dense).abs().max() <= 1e-5
    tokens = pair.official.image_encoder.projector(expected).flatten(2).mT
    pooled = pair.official.image_encoder.pooler(tokens)
    assert (pair.ours.project_and_pool(grid) - pooled).abs().max() <= 1e-5
    ids = torch.randint(5, 30522, (2, 40), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(40) < torch.tensor([[40], [9]])).long()
    assert (pair.ours.encode_text(ids, mask) - pair.official.encode_text(ids, mask)).abs().max() <= 1e-5
