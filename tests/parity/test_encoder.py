"""Our image encoder gives the official embeddings, maps and gradients."""

from __future__ import annotations

import pytest
import torch
from official import SHAPE
from official import Pair
from official import build_pair
from official import random_images
from official import small_config
from torch import Tensor
from torch import nn

TOLERANCE = 1e-5
FLAGS = [(False, False), (True, False), (True, True)]


def assert_equal(ours: Tensor, official: Tensor) -> None:
    assert ours.shape == official.shape
    assert official.std() > 0.05, "the comparison is only worth something on values that vary"
    assert (ours - official).abs().max() <= TOLERANCE


@pytest.mark.parametrize(("project", "pool"), FLAGS)
@pytest.mark.parametrize("normalize", [False, True])
@torch.no_grad()
def test_embeddings_are_equal(pair: Pair, project: bool, pool: bool, normalize: bool) -> None:
    images = random_images(SHAPE, batch=2)
    flags = {"project": project, "pool": pool, "normalize": normalize}
    assert_equal(pair.ours.encode_image(images, **flags), pair.official.encode_image(images, **flags))


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        ({"width": 72, "heads": 12, "depth": 2}, (24, 24, 24)),
        ({"width": 144, "heads": 2, "depth": 2, "embed_dim": 48}, (16, 32, 64)),
        ({"patch_size": 4, "depth": 4, "mlp_ratio": 4 * 2 / 3}, (12, 20, 16)),
    ],
)
@torch.no_grad()
def test_other_sizes_are_equal(image: dict[str, int], shape: tuple[int, int, int]) -> None:
    pair = build_pair(small_config(**image), shape, seed=3)
    images = random_images(shape)
    for project, pool in FLAGS:
        assert_equal(
            pair.ours.encode_image(images, project=project, pool=pool),
            pair.official.encode_image(images, project=project, pool=pool),
        )


def test_keys_and_shapes_are_equal(pair: Pair) -> None:
    def shapes(model: nn.Module) -> dict[str, torch.Size]:
        return {name: tensor.shape for name, tensor in model.state_dict().items()}

    assert shapes(pair.ours) == shapes(pair.official)


def test_every_weight_reaches_the_output(pair: Pair) -> None:
    """A weight the output ignored could be wired anywhere without the comparisons above noticing."""
    images = random_images(SHAPE)
    pair.ours.zero_grad()
    pair.ours.encode_image(images).square().sum().backward()
    silent = [n for n, p in pair.ours.image_encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_gradients_are_equal(pair: Pair) -> None:
    images = random_images(SHAPE, seed=5)
    gradients = []
    for model in (pair.ours, pair.official):
        parameters = dict(model.image_encoder.named_parameters())
        loss = model.encode_image(images, project=True, pool=True).square().sum()
        gradients.append(dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True)))
    ours, official = gradients
    for name, gradient in official.items():
        assert (ours[name] - gradient).abs().max() <= TOLERANCE * (1 + gradient.abs().max()), name


@torch.no_grad()
def test_dropped_tokens_are_equal(pair: Pair) -> None:
    """Encoding chosen tokens equals the official backbone with its patch dropout fixed to the same tokens."""

    class FixedPatchDropout(nn.Module):
        def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
            return tokens.take_along_dim(keep[..., None], dim=1), keep

    images = random_images(SHAPE)
    num_tokens = 4 * 6 * 5
    keep = torch.randperm(num_tokens, generator=torch.Generator().manual_seed(2))[None, : num_tokens // 4]
    backbone = pair.official.image_encoder.backbone
    tokens = backbone.down_projection(images).flatten(2).mT
    backbone.eva.patch_drop = FixedPatchDropout()
    try:
        expected, _ = backbone.eva(tokens)
    finally:
        backbone.eva.patch_drop = None
    assert_equal(pair.ours.encode_tokens(images, keep), expected)


@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_sliding_window_is_equal(batch: int) -> None:
    pair = build_pair(small_config(depth=2), (16, 16, 16), seed=7)
    images = random_images((32, 48, 16), batch=batch)
    for project, pool in FLAGS:
        expected = pair.official.encode_image(images, project=project, pool=pool, window_size=16)
        grid = pair.ours.image_features(images, 16)
        ours = pair.ours.project_and_pool(grid) if pool else pair.ours.dense(grid) if project else grid
        assert_equal(ours, expected)
