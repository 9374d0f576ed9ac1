"""Masked autoencoding for encoders that see every voxel: a share of all cubes is hidden, and nothing else changes."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange

from colipri_training.data.corruption import corrupt
from colipri_training.recipes.registry import recipe


def test_three_quarters_of_the_cubes_are_hidden_whole() -> None:
    options = recipe("t3d_smoke_masked_textfree", 100).data.corruption
    volume = torch.rand(32, 32, 32) * 0.5 + 0.25
    found = corrupt(volume, options, np.random.default_rng(0))
    again = corrupt(volume, options, np.random.default_rng(0))
    cubes = rearrange(found == 0, "(x p) (y q) (z r) -> (x y z) (p q r)", p=8, q=8, r=8)
    assert torch.equal(found, again)
    assert int(cubes.all(dim=1).sum()) == 48
    assert not cubes[~cubes.all(dim=1)].any()
    assert torch.equal(found[found != 0], volume[found != 0])


def test_axes_that_are_no_multiple_are_hidden_to_their_end() -> None:
    options = recipe("t3d_smoke_masked_textfree", 100).data.corruption
    found = corrupt(torch.ones(20, 9, 8), options, np.random.default_rng(1))
    assert 0.4 < float((found == 0).float().mean()) < 0.95
