"""Smooth random fields on a cube: the noise that bends shapes and makes textures."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]


def smooth_field(rng: np.random.Generator, size: int, cells: float) -> Field:
    """Return a field (X, Y, Z) of about unit variance: quadratic B-splines over random lattice values.

    Args:
        rng: Source of randomness.
        size: Edge of the cube in voxels.
        cells: Lattice cells along the edge; few make slow waves, many make grain.
    """
    weights = _weights(size, round(float(cells), 2))
    nodes = weights.shape[1]
    values = rng.standard_normal((nodes, nodes, nodes), dtype=np.float32)
    along_z = values.reshape(-1, nodes) @ weights.T
    along_y = np.matmul(weights, along_z.reshape(nodes, nodes, size))
    field: Field = (weights @ along_y.reshape(nodes, -1)).reshape(size, size, size)
    return field


@lru_cache(maxsize=64)
def _weights(size: int, cells: float) -> Field:
    """B-spline weights (positions, nodes), scaled to keep unit variance on average."""
    positions = np.linspace(0, cells, size, dtype=np.float64)
    nodes = np.arange(int(np.ceil(cells)) + 3) - 1.0
    distance = np.abs(positions[:, None] - nodes)
    outer = 0.5 * np.clip(1.5 - distance, 0, None) ** 2
    weights = np.where(distance < 0.5, 0.75 - distance**2, outer)
    scaled: Field = (weights / np.sqrt((weights**2).sum(axis=1).mean())).astype(np.float32)
    return scaled
