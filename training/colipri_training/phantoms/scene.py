"""Scene: the canvas on which one phantom is painted, structure by structure, each inside its own box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from colipri_training.phantoms.fields import Noise
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.grid import PhantomGrid
from colipri_training.phantoms.patient import Patient

Box = tuple[slice, slice, slice]
_CHUNK = 3_000_000
_BOX_MARGIN_MM = 12.0


@dataclass(frozen=True, kw_only=True)
class Splat:
    """Occupancy of a set of balls inside the box that holds them; `occupied` is (x, y, z) of the box."""

    box: Box
    occupied: Tensor


class Scene:
    """HU, labels and lesion bits of one phantom under construction, with the canonical coordinates of its voxels.

    Attributes:
        hu: (X, Y, Z) float32.
        labels: (X, Y, Z) uint8.
        lesions: (X, Y, Z) int32 bit field, bit f for finding f.
        lung_depth: (X, Y, Z) canonical mm inside the aerated lungs, negative elsewhere.
        lobes: (X, Y, Z) uint8 lobe label near the lungs, 0 elsewhere.
    """

    def __init__(self, patient: Patient, grid: PhantomGrid, device: torch.device) -> None:
        """Start from an empty room."""
        self.patient = patient
        self.grid = grid
        self.device = device
        self.hu = torch.full(grid.shape, -1000.0, device=device)
        self.labels = torch.zeros(grid.shape, dtype=torch.uint8, device=device)
        self.lesions = torch.zeros(grid.shape, dtype=torch.int32, device=device)
        self.lung_depth = torch.full(grid.shape, -100.0, device=device)
        self.lobes = torch.zeros(grid.shape, dtype=torch.uint8, device=device)
        self.x, self.y, self.z = patient.pose.to_canonical(grid, device)
        self.edge = grid.edge_mm / patient.pose.mean_scale

    def coordinates(self, box: Box) -> tuple[Tensor, Tensor, Tensor]:
        """Return canonical x, y and z on a box; z keeps its (1, 1, Z) shape."""
        return self.x[box], self.y[box], self.z[:, :, box[2]]

    def box(self, low: ArrayLike, high: ArrayLike) -> Box:
        """Return the voxel box that holds a canonical box, with a margin; possibly empty."""
        ends = np.stack([np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)])
        corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(-1, 3)
        return self._box_of(self.patient.pose.to_world(corners, warped=False), _BOX_MARGIN_MM)

    def ball_box(self, centre: ArrayLike, radius: float) -> Box:
        """Return the voxel box that holds a canonical ball."""
        position = np.asarray(centre, dtype=np.float64)
        return self.box(position - radius, position + radius)

    def paint(self, box: Box, occupied: Tensor, value: float | Tensor, label: int | None = None) -> None:
        """Blend `value` HU into a box by occupancy, and label what is more than half covered."""
        region = self.hu[box]
        region.add_(occupied * (value - region))
        if label is not None:
            self.labels[box][occupied > 0.5] = label

    def paint_depth(self, box: Box, depth: Tensor, value: float | Tensor, label: int | None = None) -> None:
        """Paint a structure given by its canonical depth."""
        self.paint(box, occupancy(depth, self.edge), value, label)

    def mark(self, box: Box, where: Tensor, finding: int) -> None:
        """Set the bit of a finding where the mask holds; never nothing, if the mask has any true voxel."""
        self.lesions[box][where] |= 1 << finding

    def mark_soft(self, splat: Splat, finding: int, *, share: float = 0.4) -> None:
        """Set the bit of a finding where balls cover at least a share of what they cover at most."""
        if splat.occupied.numel():
            peak = float(splat.occupied.max())
            self.mark(splat.box, splat.occupied > max(1e-3, share * min(peak, 1.0)), finding)

    def noise(self, name: str, cell_mm: float, box: Box) -> Tensor:
        """Return the named unit-variance noise field of this phantom on a box."""
        return Noise(stream(self.patient.seed, name), cell_mm).on(self.grid, box, self.device)

    def splat(self, centres: np.ndarray, radii: np.ndarray | float, *, exact: bool = False) -> Splat:
        """Return the occupancy of the union of canonical balls.

        Balls thinner than a voxel keep a one-voxel footprint at an occupancy reduced to their share of its
        cross-section, as partial volume does to vessels.

        Args:
            centres: (N, 3) canonical mm.
            radii: Canonical mm, (N,) or one for all.
            exact: Keep full occupancy for thin balls (for masks).
        """
        world = self.patient.pose.to_world(np.atleast_2d(centres))
        radius = np.broadcast_to(np.asarray(radii, dtype=np.float64), len(world)) * self.patient.pose.mean_scale
        edge = self.grid.edge_mm
        shown = np.maximum(radius, 0.5 * edge)
        share = np.ones_like(shown) if exact else np.minimum(1.0, (radius / shown) ** 2)
        reach = shown + 0.5 * edge
        box = self._box_of(np.concatenate([world - reach[:, None], world + reach[:, None]]), 0.0)
        size = [part.stop - part.start for part in box]
        buffer = torch.zeros(int(np.prod(size)), device=self.device)
        if buffer.numel():
            self._scatter(buffer, size, box, np.column_stack([world, shown, share, reach]))
        return Splat(box=box, occupied=buffer.reshape(size))

    def _scatter(self, buffer: Tensor, size: list[int], box: Box, balls: np.ndarray) -> None:
        """Scatter balls (x, y, z, radius, share, reach) into a flat box buffer by maximum, grouped by stencil size."""
        spacing = np.asarray(self.grid.spacing)
        index = (balls[:, :3] - self.grid.origin) / spacing - [part.start for part in box]
        stencils = np.ceil(balls[:, 5:6] / spacing - 0.5).astype(int).clip(min=1)
        keys = stencils @ np.array([1_000_000, 1_000, 1])
        for key in np.unique(keys):
            rows = np.flatnonzero(keys == key)
            stencil = stencils[rows[0]]
            step = max(1, _CHUNK // int(np.prod(2 * stencil + 1)))
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                self._scatter_group(buffer, size, index[part], balls[part, 3:5], stencil)

    def _scatter_group(
        self, buffer: Tensor, size: list[int], index: np.ndarray, sizes: np.ndarray, stencil: np.ndarray
    ) -> None:
        position = torch.from_numpy(index.astype(np.float32)).to(self.device)
        radius, share = torch.from_numpy(sizes.astype(np.float32)).to(self.device).unbind(dim=1)
        squares, voxels, inside = [], [], []
        for axis in range(3):
            offsets = torch.arange(-int(stencil[axis]), int(stencil[axis]) + 1, device=self.device)
            voxel = position[:, axis].round().long()[:, None] + offsets
            squares.append(((voxel - position[:, axis, None]) * self.grid.spacing[axis]).square())
            inside.append((voxel >= 0) & (voxel < size[axis]))
            voxels.append(voxel.clamp(0, size[axis] - 1))
        distance = (squares[0][:, :, None, None] + squares[1][:, None, :, None] + squares[2][:, None, None, :]).sqrt_()
        cover = ((radius[:, None, None, None] - distance) / self.grid.edge_mm).add_(0.5).clamp_(0, 1)
        cover.mul_(share[:, None, None, None])
        cover.mul_((inside[0][:, :, None, None] & inside[1][:, None, :, None]) & inside[2][:, None, None, :])
        flat = (voxels[0][:, :, None, None] * size[1] + voxels[1][:, None, :, None]) * size[2] + voxels[2][
            :, None, None
        ]
        kept = cover > 0
        buffer.scatter_reduce_(0, flat[kept], cover[kept], reduce="amax")

    def _box_of(self, world: np.ndarray, margin: float) -> Box:
        """Return the clipped voxel box around world points."""
        origin, spacing, shape = self.grid.origin, np.asarray(self.grid.spacing), np.asarray(self.grid.shape)
        low = np.floor((world.min(axis=0) - margin - origin) / spacing).astype(int).clip(0, shape)
        high = (np.ceil((world.max(axis=0) + margin - origin) / spacing).astype(int) + 1).clip(low, shape)
        x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return x, y, z
