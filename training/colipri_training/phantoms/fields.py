"""Signed distances, smooth profiles and seeded noise: the scalar fields that phantoms are made of.

Depth convention: positive inside a structure, negative outside, in canonical mm.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms.grid import PhantomGrid

_TABLE_STEP_MM = 1.0
_SMOOTHING_MM = 8.0
_NOISE_EXTENT_MM = 210.0


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of one named part of one phantom, independent of all other parts."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


class Profile:
    """A smooth function of z, given at a few heights, evaluated on tensors by table lookup."""

    def __init__(self, heights: Sequence[float], values: Sequence[float]) -> None:
        """Tabulate the piecewise linear curve through the nodes, smoothed by a Gaussian of 8 mm."""
        z = np.arange(heights[0] - 60.0, heights[-1] + 60.0, _TABLE_STEP_MM)
        raw = np.interp(z, heights, values)
        offsets = np.arange(-24, 25)
        kernel = np.exp(-0.5 * (offsets / _SMOOTHING_MM) ** 2)
        padded = np.pad(raw, 24, mode="edge")
        table = np.convolve(padded, kernel / kernel.sum(), mode="valid")
        self._start = float(z[0])
        self._table = torch.from_numpy(table.astype(np.float32))

    def __call__(self, z: Tensor) -> Tensor:
        """Evaluate at heights `z` (canonical mm), any shape; constant beyond the ends."""
        table = self._table.to(z.device)
        position = ((z - self._start) / _TABLE_STEP_MM).clamp(0, len(table) - 1.001)
        index = position.long()
        return torch.lerp(table[index], table[index + 1], position - index)

    def at(self, z: float) -> float:
        """Evaluate at one height."""
        return float(self(torch.tensor([z], dtype=torch.float32))[0])


def superellipse_depth(x: Tensor, y: Tensor, half_width: Tensor, half_depth: Tensor) -> Tensor:
    """Return the radial depth inside a rounded box (exponent near 2.3), positive inside.

    A mean of the 2-norm and the 4-norm stands in for the exponent, because square roots are far cheaper than powers.
    """
    u2 = (x / half_width).square_()
    v2 = (y / half_depth).square_()
    norm2 = (u2 + v2).sqrt_()
    norm4 = u2.square_().add_(v2.square_()).sqrt_().sqrt_()
    norm = norm2.mul_(0.7).add_(norm4, alpha=0.3).clamp_(min=1e-3)
    radius = (x.square() + y.square()).sqrt_()
    return radius.div_(norm).mul_(1 - norm)


def ellipsoid_depth(offset: tuple[Tensor, Tensor, Tensor], radii: Sequence[float]) -> Tensor:
    """Return the approximate signed depth inside an ellipsoid, positive inside (after I. Quilez' bound)."""
    u, v, w = (component / radius for component, radius in zip(offset, radii, strict=True))
    first = (u.square() + v.square() + w.square()).sqrt().clamp_(min=1e-3)
    second = ((u / radii[0]).square() + (v / radii[1]).square() + (w / radii[2]).square()).sqrt_().clamp_(min=1e-5)
    return first * (1 - first) / second


def smooth_max(a: Tensor, b: Tensor, radius: float) -> Tensor:
    """Return the union of two depths with a fillet of about `radius` mm."""
    h = (0.5 + (a - b) * (0.5 / radius)).clamp_(0, 1)
    return torch.lerp(b, a, h) + radius * h * (1 - h)


def occupancy(depth: Tensor, edge: float) -> Tensor:
    """Return the share of a voxel that lies inside, from its depth: a linear ramp `edge` mm wide."""
    return (depth * (1 / edge)).add_(0.5).clamp_(0, 1)


class Noise:
    """A smooth random field of unit variance, fixed in world mm, so that every grid sees the same one."""

    def __init__(self, rng: np.random.Generator, cell_mm: float) -> None:
        """Draw node values on a lattice of `cell_mm` that covers 420 mm around the origin."""
        self._cell = cell_mm
        self._count = int(np.ceil(2 * _NOISE_EXTENT_MM / cell_mm)) + 4
        values = rng.standard_normal((self._count,) * 3, dtype=np.float32)
        self._values = torch.from_numpy(values)

    def on(self, grid: PhantomGrid, box: tuple[slice, slice, slice], device: torch.device) -> Tensor:
        """Evaluate on the voxels of `box`; returns a tensor of the box's shape."""
        wx, wy, wz = (self._weights(axis[part]).to(device) for axis, part in zip(grid.axes, box, strict=True))
        values = self._values.to(device)
        along_z = values.reshape(-1, self._count) @ wz.T
        along_y = torch.matmul(wy, along_z.reshape(self._count, self._count, -1))
        result = wx @ along_y.reshape(self._count, -1)
        return result.reshape(len(wx), len(wy), len(wz))

    def _weights(self, positions: Tensor) -> Tensor:
        """Return quadratic B-spline weights (positions, nodes), scaled to keep unit variance on average."""
        nodes = torch.arange(self._count, dtype=torch.float32) * self._cell - _NOISE_EXTENT_MM - self._cell
        limit = float(nodes[-2])
        distance = (positions.clamp(-limit, limit)[:, None] - nodes[None]).abs_() / self._cell
        inner = 0.75 - distance.square()
        outer = 0.5 * (1.5 - distance).clamp(min=0).square()
        weights = torch.where(distance < 0.5, inner, outer)
        return weights / weights.square().sum(dim=1, keepdim=True).mean().sqrt()
