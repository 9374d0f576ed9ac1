"""The scanner: slice thickness, reconstruction kernel, noise, field of view and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.scene import Scene

LOWEST_HU = -1024.0
HIGHEST_HU = 3071.0
OUTSIDE_HU = -1000.0


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How one phantom is scanned.

    Attributes:
        slice_mm: Slice thickness.
        blur_mm: Standard deviation of the in-plane blur of a smooth kernel.
        noise_hu: Standard deviation of the noise as seen on a 4 mm grid.
        grain_mm: Correlation length of the noise.
        fov_mm: Radius of the reconstructed circle.
        fov_padding: HU outside that circle.
        streak_hu: Amplitude of the streaks next to dense contrast.
        offset_hu: Calibration offset of soft tissue.
    """

    slice_mm: float
    blur_mm: float
    noise_hu: float
    grain_mm: float
    fov_mm: float
    fov_padding: float
    streak_hu: float
    offset_hu: float


def draw_acquisition(seed: int, *, dense_veins: bool) -> Acquisition:
    """Draw the scanner settings of phantom `seed`."""
    rng = stream(seed, "acquisition")
    sharp = bool(rng.random() < 0.35)
    wide = rng.random() < 0.6
    return Acquisition(
        slice_mm=float(rng.choice([1.0, 1.25, 2.5, 3.0, 5.0], p=[0.3, 0.2, 0.2, 0.15, 0.15])),
        blur_mm=float(rng.uniform(0.0, 0.8) if sharp else rng.uniform(0.4, 1.8)),
        noise_hu=float(np.exp(rng.normal(np.log(24.0 if sharp else 11.0), 0.35))),
        grain_mm=float(rng.uniform(0.5, 1.2) if sharp else rng.uniform(1.2, 2.8)),
        fov_mm=float(rng.uniform(220, 280) if wide else rng.uniform(168, 215)),
        fov_padding=float(rng.choice([-1000.0, -1024.0])),
        streak_hu=float(rng.uniform(15, 50) if dense_veins and rng.random() < 0.6 else 0.0),
        offset_hu=float(rng.normal(0, 3)),
    )


def acquire(scene: Scene, acquisition: Acquisition) -> None:
    """Turn the painted phantom into a scan, in place; noise differs from grid to grid, all else does not."""
    spacing = scene.grid.spacing
    blur = acquisition.blur_mm
    hu = _blur(scene.hu, (blur / spacing[0], blur / spacing[1], 0.29 * acquisition.slice_mm / spacing[2]))
    if acquisition.streak_hu:
        hu = hu + _streaks(scene, acquisition.streak_hu)
    hu = hu + _noise(scene, acquisition) + acquisition.offset_hu
    scene.hu = hu.clamp_(LOWEST_HU, HIGHEST_HU)
    _crop(scene, acquisition)


def _kernel(sigma: float) -> Tensor:
    reach = max(1, int(np.ceil(2.5 * sigma)))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma).square())
    normalised: Tensor = weights / weights.sum()
    return normalised


def _blur(field: Tensor, sigmas: tuple[float, float, float]) -> Tensor:
    """Blur along each axis by a Gaussian given in voxels; less than 0.25 voxels is left alone."""
    for axis, sigma in enumerate(sigmas):
        if sigma < 0.25:
            continue
        weights = _kernel(sigma).to(field.device)
        reach = len(weights) // 2
        padding = [0, 0, 0, 0, 0, 0]
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        padded = functional.pad(field[None, None], padding, mode="replicate")[0, 0]
        size = field.shape[axis]
        total = torch.zeros_like(field)
        for index, weight in enumerate(weights.tolist()):
            total.add_(padded.narrow(axis, index, size), alpha=weight)
        field = total
    return field


def _noise(scene: Scene, acquisition: Acquisition) -> Tensor:
    """Return correlated noise, stronger in the middle of the body and, per voxel, on fine grids."""
    seed = int(stream(scene.patient.seed, "noise").integers(2**31))
    generator = torch.Generator().manual_seed(seed)
    white: Tensor = torch.randn(scene.grid.shape, generator=generator).to(scene.device)
    sigmas = [acquisition.grain_mm / step for step in scene.grid.spacing]
    noise = _blur(white, (sigmas[0], sigmas[1], 0.6 * sigmas[2]))
    fine = (4.0 / scene.grid.edge_mm) ** 0.5
    attenuation = (scene.hu > -900).float().mul_(0.5).add_(0.5)
    scaled: Tensor = noise * attenuation * (acquisition.noise_hu * fine / float(noise.std()))
    return scaled


def _streaks(scene: Scene, amplitude: float) -> Tensor:
    """Return alternating bright and dark rays from the superior vena cava, fading with distance."""
    x, y = scene.x - 26, scene.y - 14
    angle = torch.atan2(y, x)
    radius = (x.square() + y.square()).sqrt_()
    height = torch.exp(-((scene.z - 10) / 35).square())
    return amplitude * height * torch.sin(angle * 11 + scene.z * 0.4) * torch.exp(-radius / 45) * (scene.labels > 0)


def _crop(scene: Scene, acquisition: Acquisition) -> None:
    """Blank what lies outside the scanned range and the reconstructed circle."""
    pose = scene.patient.pose
    low, high = scene.patient.coverage
    z = scene.grid.axes[2].to(scene.device)
    missed = (z < low * pose.scale[2] + pose.shift[2]) | (z > high * pose.scale[2] + pose.shift[2])
    x, y, _ = (axis.to(scene.device) for axis in scene.grid.axes)
    beyond = ((x[:, None] - pose.shift[0]).square() + (y[None, :] - pose.shift[1]).square()).sqrt() > acquisition.fov_mm
    scene.hu[beyond] = acquisition.fov_padding
    scene.hu[:, :, missed] = OUTSIDE_HU
    for field in (scene.labels, scene.lesions):
        field[beyond] = 0
        field[:, :, missed] = 0
