"""From label maps to intensities: tissues, textures, partial volume, thick slices and noise, at random."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from colipri_training.clicks.shapes import Labels
from colipri_training.clicks.shapes import Mask
from colipri_training.clicks.smooth import Field
from colipri_training.clicks.smooth import smooth_field

TISSUES: tuple[tuple[float, float], ...] = (
    (-1000, -970),  # air
    (-930, -700),  # lung
    (-700, -300),  # ground glass
    (-125, -60),  # fat
    (-10, 25),  # fluid
    (25, 75),  # soft tissue
    (30, 60),  # soft tissue, the commonest of all
    (90, 220),  # enhanced organ
    (200, 450),  # enhanced vessel
    (180, 900),  # bone
)
"""Ranges of mean HU that labels are given (textbook values, rounded)."""

HU_RANGE = (-1024.0, 3071.0)
"""What a CT stores in 12 bits."""

_MAX_NOISE_HU = 60.0
_MAX_SLICE = 8
_DENSE_HU = -300.0
_AIRY_HU = -600.0
_COUNTED = 0.3


def paint(
    rng: np.random.Generator, labels: Labels, means: dict[int, float], textures: Mapping[int, float] | None = None
) -> Field:
    """Give each label a mean and a texture.

    Args:
        rng: Source of randomness.
        labels: (X, Y, Z).
        means: Label -> mean HU.
        textures: Label -> standard deviation of its texture in HU; drawn for all others.
    """
    size = labels.shape[0]
    levels = np.zeros(max(means) + 1, dtype=np.float32)
    strength = np.zeros_like(levels)
    for label, mean in means.items():
        levels[label] = mean
        strength[label] = rng.exponential(5.0) if rng.random() < 0.85 else rng.exponential(25.0)
    for label, deviation in (textures or {}).items():
        strength[label] = deviation
    hu = levels[labels]
    hu += strength[labels] * smooth_field(rng, size, float(rng.uniform(4, size / 2.5)))
    if rng.random() < 0.5:
        hu += float(rng.exponential(8.0)) * smooth_field(rng, size, float(rng.uniform(1, 3)))
    return hu


def draw_mean(rng: np.random.Generator) -> float:
    """Draw the mean HU of a label: mostly of a tissue, at times anything."""
    if rng.random() < 0.15:
        return float(rng.uniform(-1000, 600))
    low, high = TISSUES[int(rng.integers(len(TISSUES)))]
    return float(rng.uniform(low, high))


def draw_organ_mean(rng: np.random.Generator) -> float:
    """Draw the mean HU of a soft organ: without contrast mostly, with it, or full of fluid."""
    draw = rng.random()
    low, high = (20, 75) if draw < 0.55 else (80, 220) if draw < 0.85 else (-10, 25)
    return float(rng.uniform(low, high))


def draw_neighbour_mean(rng: np.random.Generator, mean: float) -> float:
    """Draw a mean that differs from another one, often by little: organs side by side."""
    if rng.random() < 0.5:
        return draw_mean(rng)
    return mean + float(rng.choice([-1, 1]) * rng.uniform(12, 90))


def scan(rng: np.random.Generator, hu: Field) -> Field:
    """Blur, cut into slices, and add noise, as a scanner and its reconstruction do.

    Args:
        rng: Source of randomness.
        hu: (X, Y, Z) in HU; not changed.
    """
    scanned = ndimage.gaussian_filter(hu, float(rng.uniform(0.3, 1.6))) if rng.random() < 0.85 else hu.copy()
    noise = float(min(rng.exponential(12.0), _MAX_NOISE_HU))
    grain = rng.standard_normal(hu.shape, dtype=np.float32)
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.4, 0.9))
        grain = ndimage.gaussian_filter(grain, sigma)
        grain /= max(float(grain.std()), 1e-6)
    scanned += noise * grain
    if rng.random() < 0.45:
        axis = 2 if rng.random() < 0.7 else int(rng.integers(3))
        scanned = thick_slices(scanned, float(rng.uniform(1.5, _MAX_SLICE)), axis=axis)
    return scanned.clip(*HU_RANGE)


def as_read(rng: np.random.Generator, hu: Field, target: Mask) -> Mask:
    """Return a target as readers outline it: in air, who looks through a lung window counts most of a blurred border.

    Args:
        rng: Source of randomness: how far the border is blurred.
        hu: (X, Y, Z) in HU, before it is scanned.
        target: (X, Y, Z).
    """
    if np.median(hu[target]) < _DENSE_HU:
        return target
    share = ndimage.gaussian_filter(target.astype(np.float32), float(rng.uniform(0.4, 1.0)))
    return np.asarray(target | ((share > _COUNTED) & (hu < _AIRY_HU)))


def thick_slices(hu: Field, thickness: float, *, axis: int) -> Field:
    """Average over slices along an axis and interpolate between them, as a region sampled from thick slices looks.

    Args:
        hu: (X, Y, Z).
        thickness: Of a slice, in voxels.
        axis: Across the slices.
    """
    size = hu.shape[axis]
    count = max(2, round(size / thickness))
    edges = np.linspace(0, size, count + 1)
    cover = np.clip(
        np.minimum(edges[1:, None], np.arange(1, size + 1)) - np.maximum(edges[:-1, None], np.arange(size)), 0, 1
    )
    cover /= cover.sum(axis=1, keepdims=True)
    place = (np.arange(size) + 0.5) / size * count - 0.5
    back = np.clip(1 - np.abs(place[:, None].clip(0, count - 1) - np.arange(count)), 0, 1)
    moved = np.moveaxis(hu, axis, -1) @ (back @ cover).T.astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(moved, -1, axis))
