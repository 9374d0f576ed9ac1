"""Pose: the map between world RAS+ mm and the canonical chest in which all anatomy is described.

The canonical chest is a RAS+ frame in mm with the carina at z = 0 and the midline at x = 0. Its z axis depends on
world z alone, so that everything that varies with height is a vector, not a volume. Tilt, kyphosis and scoliosis are
shifts of whole slices; individual shape comes from a low-frequency warp in the axial plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms.grid import PhantomGrid

_SCOLIOSIS_WAVE = 0.02
_KYPHOSIS_WAVE = 0.013


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Size, rotation, position and bending of one patient.

    Attributes:
        scale: World mm per canonical mm along x, y, z.
        rotation: Rotation about the z axis in radians.
        shift: World mm of the canonical origin.
        tilt: Sideways and forward shift in mm per mm of height.
        bend: Amplitude in mm of the scoliosis and kyphosis curves.
        warp: (2, terms, 7): per axis and term, amplitude (mm), three wave numbers (rad/mm), three phases.
    """

    scale: tuple[float, float, float]
    rotation: float
    shift: tuple[float, float, float]
    tilt: tuple[float, float]
    bend: tuple[float, float]
    warp: np.ndarray

    @property
    def mean_scale(self) -> float:
        """World mm per canonical mm, averaged over the axes."""
        return float(np.mean(self.scale))

    def canonical_z(self, world_z: float) -> float:
        """Return the canonical height of a world height."""
        return (world_z - self.shift[2]) / self.scale[2]

    def to_canonical(self, grid: PhantomGrid, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return canonical x and y as (X, Y, Z) tensors and z as a (1, 1, Z) tensor, for every voxel of the grid."""
        axes = [axis.to(device) for axis in grid.axes]
        x = axes[0][:, None, None] - self.shift[0]
        y = axes[1][None, :, None] - self.shift[1]
        z = (axes[2][None, None, :] - self.shift[2]) / self.scale[2]
        cos, sin = float(np.cos(self.rotation)), float(np.sin(self.rotation))
        bend_x = self.bend[0] * torch.sin(z * _SCOLIOSIS_WAVE) + self.tilt[0] * z
        bend_y = self.bend[1] * (torch.cos(z * _KYPHOSIS_WAVE) - 0.6) + self.tilt[1] * z
        warp_x, warp_y = (self._warp_on(terms, axes) for terms in self.warp)
        return (
            (cos * x + sin * y) / self.scale[0] - bend_x + warp_x,
            (cos * y - sin * x) / self.scale[1] - bend_y + warp_y,
            z,
        )

    def to_world(self, points: np.ndarray, *, warped: bool = True) -> np.ndarray:
        """Return world RAS+ mm of canonical points, (N, 3) to (N, 3); the warp (under 9 mm) is undone by iteration."""
        z = points[:, 2]
        bend_x = self.bend[0] * np.sin(z * _SCOLIOSIS_WAVE) + self.tilt[0] * z
        bend_y = self.bend[1] * (np.cos(z * _KYPHOSIS_WAVE) - 0.6) + self.tilt[1] * z
        cos, sin = np.cos(self.rotation), np.sin(self.rotation)
        world = np.stack([points[:, 0], points[:, 1], z * self.scale[2] + self.shift[2]], axis=1)
        warp = np.zeros((2, len(points)))
        for step in range(3 if warped else 1):
            rotated_x = (points[:, 0] + bend_x - warp[0]) * self.scale[0]
            rotated_y = (points[:, 1] + bend_y - warp[1]) * self.scale[1]
            world[:, 0] = cos * rotated_x - sin * rotated_y + self.shift[0]
            world[:, 1] = sin * rotated_x + cos * rotated_y + self.shift[1]
            if step < 2 and warped:
                warp = self._warp_at(world)
        return world

    @staticmethod
    def _warp_on(terms: np.ndarray, axes: list[Tensor]) -> Tensor:
        total = torch.zeros(())
        for amplitude, *rest in terms.tolist():
            waves = [torch.sin(axis * k + phase) for axis, k, phase in zip(axes, rest[:3], rest[3:], strict=True)]
            total = total.to(waves[0].device) + (amplitude * waves[0][:, None, None]) * (
                waves[1][None, :, None] * waves[2][None, None, :]
            )
        return total

    def _warp_at(self, world: np.ndarray) -> np.ndarray:
        """Return the warp in x and y at world points, (N, 3) to (2, N)."""
        terms = self.warp[:, :, None, :]
        waves = np.sin(world * terms[..., 1:4] + terms[..., 4:7])
        warp: np.ndarray = (terms[..., 0] * (waves[..., 0] * waves[..., 1] * waves[..., 2])).sum(axis=1)
        return warp


def draw_pose(rng: np.random.Generator, size: tuple[float, float, float]) -> Pose:
    """Draw a pose for a patient of the given body scale; rotation up to 8 degrees, tilt up to about 4 degrees."""
    terms = np.empty((2, 3, 7))
    terms[..., 0] = rng.uniform(-3.0, 3.0, (2, 3))
    terms[..., 1:4] = rng.uniform(0.008, 0.028, (2, 3, 3))
    terms[..., 4:7] = rng.uniform(0, 2 * np.pi, (2, 3, 3))
    shift = (float(rng.normal(0, 6)), float(rng.normal(-2, 7)), float(22 * size[2] + rng.normal(0, 9)))
    return Pose(
        scale=size,
        rotation=float(np.radians(np.clip(rng.normal(0, 3), -8, 8))),
        shift=shift,
        tilt=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.03))),
        bend=(float(rng.normal(0, 2.5)), float(rng.uniform(0, 9))),
        warp=terms,
    )
