"""PhantomGrid: the axis-aligned RAS+ voxel grid on which a phantom is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PhantomGrid:
    """Shape, spacing and centre of an axis-aligned grid.

    Index 0 grows towards the patient's right, index 1 to the front, index 2 to the head (RAS+).

    Attributes:
        shape: Number of voxels per axis.
        spacing: Voxel size in mm per axis.
        centre: RAS+ mm of the middle of the grid. The middle of the chest lies near the origin.
    """

    shape: tuple[int, int, int] = (96, 96, 96)
    spacing: tuple[float, float, float] = (4.0, 4.0, 4.0)
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse grids that hold no voxel."""
        if min(self.shape) < 1 or min(self.spacing) <= 0:
            msg = f"A grid needs a positive shape and spacing, got {self.shape} and {self.spacing}"
            raise ValueError(msg)

    @property
    def origin(self) -> np.ndarray:
        """RAS+ mm of the centre of voxel (0, 0, 0), float64 (3,)."""
        extent = (np.asarray(self.shape) - 1) * np.asarray(self.spacing)
        origin: np.ndarray = np.asarray(self.centre, dtype=np.float64) - extent / 2
        return origin

    @property
    def affine(self) -> np.ndarray:
        """Voxel index to RAS+ mm, float64 (4, 4)."""
        affine = np.diag([*self.spacing, 1.0]).astype(np.float64)
        affine[:3, 3] = self.origin
        return affine

    @property
    def edge_mm(self) -> float:
        """Width in mm of the soft edge that stands in for partial volume: the geometric mean of the spacing."""
        return float(np.prod(self.spacing) ** (1 / 3))

    @cached_property
    def axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """RAS+ mm of the voxel centres along each axis, float32 tensors on the CPU."""
        x, y, z = (
            torch.from_numpy((start + step * np.arange(size)).astype(np.float32))
            for start, step, size in zip(self.origin, self.spacing, self.shape, strict=True)
        )
        return x, y, z
