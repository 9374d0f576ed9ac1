"""Random changes to a volume that keep its report true: shift, intensity, noise, blur. Never a left-right flip.

Two-phase: `draw` holds all randomness and returns plain numbers; `apply_to_image` is deterministic.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One draw. All ranges are our choice.

    Args:
        shift: Voxels the volume moves along each axis.
        offset_hu: Added to all voxels.
        gain: Multiplies the distance from -1000 HU.
        noise_hu: Standard deviation of white noise.
        blur: Standard deviation of the Gaussian blur along each axis, in voxels.
        seed: Seed of the noise.
    """

    shift: tuple[int, int, int]
    offset_hu: float
    gain: float
    noise_hu: float
    blur: tuple[float, float, float]
    seed: int


def draw(rng: np.random.Generator, shift_voxels: int) -> Augmentation:
    """Draw an augmentation.

    Args:
        rng: Source of randomness.
        shift_voxels: Largest shift along each axis.
    """
    blurred = rng.random() < 0.15
    blur = rng.uniform(0.0, 0.8, size=3) if blurred else np.zeros(3)
    return Augmentation(
        shift=tuple(int(value) for value in rng.integers(-shift_voxels, shift_voxels + 1, size=3)),
        offset_hu=float(rng.normal(0.0, 12.0)),
        gain=float(rng.uniform(0.96, 1.04)),
        noise_hu=float(rng.choice([0.0, 1.0], p=[0.7, 0.3]) * rng.uniform(5.0, 30.0)),
        blur=(float(blur[0]), float(blur[1]), float(blur[2])),
        seed=int(rng.integers(0, 2**31)),
    )


def apply_to_image(hu: Tensor, augmentation: Augmentation) -> Tensor:
    """Change a volume.

    Args:
        hu: float32 (X, Y, Z), HU.
        augmentation: What to do.

    Returns:
        float32 (X, Y, Z), HU.
    """
    changed = shift(hu, augmentation.shift, fill=-1000.0)
    for axis, sigma in enumerate(augmentation.blur):
        if sigma > 0.2:
            changed = _blur(changed, axis, sigma)
    changed = changed * augmentation.gain + (1000.0 * augmentation.gain - 1000.0 + augmentation.offset_hu)
    if augmentation.noise_hu:
        generator = torch.Generator().manual_seed(augmentation.seed)
        changed.add_(torch.randn(changed.shape, generator=generator), alpha=augmentation.noise_hu)
    return changed


def to_unit(hu: Tensor, window: tuple[float, float]) -> Tensor:
    """Bring HU into [-1, 1], in place: what lies outside the window is clipped."""
    low, high = window
    return hu.clamp_(low, high).sub_(low).mul_(2 / (high - low)).sub_(1)


def shift(array: Tensor, voxels: tuple[int, int, int], *, fill: float) -> Tensor:
    """Move a volume by whole voxels; what enters is `fill`."""
    moved = torch.full_like(array, fill)
    source = tuple(slice(max(0, -v), n - max(0, v)) for v, n in zip(voxels, array.shape, strict=True))
    target = tuple(slice(max(0, v), n - max(0, -v)) for v, n in zip(voxels, array.shape, strict=True))
    moved[target] = array[source]
    return moved


def _blur(volume: Tensor, axis: int, sigma: float) -> Tensor:
    offsets = torch.arange(-2, 3, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    shape = [1, 1, 1, 1, 1]
    shape[axis + 2] = 5
    padding = [0, 0, 0]
    padding[axis] = 2
    weight = (kernel / kernel.sum()).reshape(shape)
    return F.conv3d(volume[None, None], weight, padding=tuple(padding))[0, 0]


def rescale(hu: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Stretch and turn a volume and its labels about its centre: each axis by 0.8 to 1.2, and up to 12 degrees.

    Args:
        hu: float32 (X, Y, Z).
        labels: int64 (X, Y, Z).
        rng: Source of randomness.

    Returns:
        The changed pair; what enters the volume is -1000 HU, background.
    """
    angles = np.deg2rad(rng.uniform(-12.0, 12.0, size=3))
    matrix = torch.from_numpy(rotation(angles) @ np.diag(rng.uniform(0.8, 1.2, size=3))).float()
    theta = torch.cat([matrix, torch.zeros(3, 1)], dim=1)[None]
    grid = F.affine_grid(theta, [1, 1, *hu.shape], align_corners=False)
    moved = F.grid_sample((hu + 1000.0)[None, None], grid, align_corners=False)[0, 0] - 1000.0
    outlined = F.grid_sample(labels.float()[None, None], grid, mode="nearest", align_corners=False)[0, 0]
    return moved, outlined.long()


def cover(hu: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Leave half of the volumes 0.3 to 1 of their height only, as scans of other regions have (our choice).

    Args:
        hu: float32 (X, Y, Z), HU, the last axis upwards.
        labels: int64 (X, Y, Z).
        rng: Source of randomness.

    Returns:
        The pair in its own memory; what is not covered is -1000 HU, background.
    """
    height = hu.shape[2]
    kept = round(height * rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else height
    start = int(rng.integers(0, height - kept + 1))
    inside = torch.zeros(height, dtype=torch.bool)
    inside[start : start + kept] = True
    return torch.where(inside, hu, -1000.0), torch.where(inside, labels, 0)


def bend(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Change the HU of tissue by a random monotone curve, so that a head relies on shape as well (our choice).

    Args:
        hu: float32, HU.
        rng: Source of randomness.
    """
    knots = np.array([-1024.0, -900.0, -700.0, -120.0, 40.0, 200.0, 1000.0, 3000.0])
    spread = np.array([15.0, 40.0, 80.0, 25.0, 30.0, 80.0, 200.0, 0.0])
    values = np.maximum.accumulate(knots + rng.normal(0.0, 1.0, size=8) * spread)
    bent = np.interp(hu.numpy().ravel(), knots, values).reshape(hu.shape)
    return torch.from_numpy(bent.astype(np.float32))


def rotation(angles: np.ndarray) -> np.ndarray:
    """Turn by three angles (radians), each in the plane of an axis and the next: (3, 3)."""
    turned = np.eye(3)
    for first, angle in enumerate(angles):
        second = (first + 1) % 3
        step = np.eye(3)
        step[[first, second], [first, second]] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turned = turned @ step
    return turned
