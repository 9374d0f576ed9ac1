"""Parity tests compare our model with the official package on random weights; without that package they skip."""

from __future__ import annotations

import pytest
from official import SHAPE
from official import Pair
from official import build_pair
from official import small_config


@pytest.fixture(scope="package")
def pair() -> Pair:
    """Both models at a small size, for volumes of 32 x 48 x 40 voxels (three different grid axes)."""
    return build_pair(small_config(), SHAPE)
