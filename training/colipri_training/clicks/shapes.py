"""Shapes on a cube of voxels: bent ellipsoids, branching tubes and mosaics, the label maps of synthetic scenes."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from colipri_training.clicks.smooth import Field
from colipri_training.clicks.smooth import smooth_field

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int16]
Position = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blob:
    """How a bent ellipsoid is drawn.

    Args:
        centre: Voxel index, may lie outside the cube.
        radii: Half axes in voxels.
        roughness: How far noise moves the surface, as a share of the radius.
        waves: Lattice cells of that noise over the cube.
    """

    centre: Position
    radii: Position
    roughness: float
    waves: float


def random_rotation(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a rotation matrix, uniform over all rotations."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation: npt.NDArray[np.float64] = q * np.sign(np.diag(r))
    return rotation


def blob(rng: np.random.Generator, size: int, shape: Blob) -> Mask:
    """Draw a bent ellipsoid.

    Args:
        rng: Source of randomness: its orientation and the noise.
        size: Edge of the cube.
        shape: What to draw.
    """
    axes = random_rotation(rng) / shape.radii[:, None]
    squares = np.zeros((size, size, size), dtype=np.float32)
    lines = [np.arange(size, dtype=np.float32) - np.float32(at) for at in shape.centre]
    for x, y, z in axes.astype(np.float32):
        along = (x * lines[0])[:, None, None] + (y * lines[1])[:, None] + z * lines[2]
        squares += along * along
    if shape.roughness > 0:
        limit = (1 + np.float32(shape.roughness) * smooth_field(rng, size, shape.waves)).clip(0.2, None)
        return np.asarray(squares < limit * limit)
    return np.asarray(squares < 1)


def mosaic(rng: np.random.Generator, size: int, cells: int, *, gap: float = 0.0) -> Labels:
    """Return a partition of the cube into bent cells, numbered from 0: organs that touch each other.

    Args:
        rng: Source of randomness.
        size: Edge of the cube.
        cells: Number of cells.
        gap: How far cells are apart on average, in voxels, here more and there less; what lies between them gets the
            number `cells`.
    """
    seeds = rng.uniform(-0.1 * size, 1.1 * size, (cells, 3)).astype(np.float32)
    stretch = rng.uniform(0.5, 1.5, 3).astype(np.float32)
    bend = float(rng.uniform(0.03, 0.16)) * size
    waves = float(rng.uniform(1.5, 6))
    x, y, z = (
        np.arange(size, dtype=np.float32).reshape(shape) + np.float32(bend) * smooth_field(rng, size, waves)
        for shape in ((size, 1, 1), (1, size, 1), (1, 1, size))
    )
    nearest, second = (np.full((size, size, size), np.inf, dtype=np.float32) for _ in range(2))
    labels = np.zeros((size, size, size), dtype=np.int16)
    for number, seed in enumerate(seeds):
        offset = rng.uniform(-0.02, 0.02) * size * size
        distance = ((x - seed[0]) * stretch[0]) ** 2
        distance += ((y - seed[1]) * stretch[1]) ** 2
        distance += ((z - seed[2]) * stretch[2]) ** 2
        distance += np.float32(offset)
        nearer = distance < nearest
        labels[nearer] = number
        if gap:
            np.minimum(second, np.maximum(distance, nearest), out=second)
        np.minimum(nearest, distance, out=nearest)
    if gap:
        apart = np.sqrt(second.clip(0, None)) - np.sqrt(nearest.clip(0, None))
        labels[apart < np.float32(gap) * (1 + smooth_field(rng, size, float(rng.uniform(2, 5))))] = cells
    return labels


def layers(rng: np.random.Generator, size: int, count: int) -> Labels:
    """Return a partition of the cube into bands of a smooth field, numbered from 0: fat, muscle, air around a wall."""
    field = smooth_field(rng, size, float(rng.uniform(1, 4)))
    field += float(rng.uniform(0, 3)) * _slope(rng, size)
    cuts = np.quantile(field[::4, ::4, ::4], np.sort(rng.uniform(0.05, 0.95, count - 1)))
    return np.digitize(field, cuts).astype(np.int16)


def _slope(rng: np.random.Generator, size: int) -> Field:
    """A plane's distance field of any direction, about -1 to 1 over the cube."""
    direction = rng.standard_normal(3)
    x, y, z = direction / np.linalg.norm(direction)
    line = np.linspace(-1, 1, size, dtype=np.float32)
    slope: Field = (x * line)[:, None, None] + (y * line)[:, None] + z * line
    return slope.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    """How branching tubes are drawn.

    Args:
        start: Voxel index of the root.
        radius: Radius of the trunk in voxels.
        length: Length of the trunk in voxels.
        generations: How often branches part.
        turn: How much the direction wanders, per voxel.
    """

    start: Position
    radius: float
    length: float
    generations: int
    turn: float


def tree(rng: np.random.Generator, tree: Tree, *, heading: Position | None = None) -> tuple[Position, Position]:
    """Grow branching tubes; returns centre line points (P, 3) and the radius (P,) at each.

    Args:
        rng: Source of randomness.
        tree: What to grow.
        heading: Direction of the trunk, a unit vector; random if omitted.
    """
    points: list[Position] = []
    radii: list[Position] = []
    first = rng.standard_normal(3) if heading is None else heading
    tips = [(tree.start, first / np.linalg.norm(first), tree.radius, tree.length)]
    for generation in range(tree.generations + 1):
        grown = []
        for start, direction, radius, length in tips:
            line, heading = _branch(rng, start, direction, length, tree.turn)
            points.append(line)
            radii.append(np.linspace(radius, 0.85 * radius, len(line)))
            for _ in range(int(rng.integers(1, 4)) if generation < tree.generations else 0):
                aside = heading + rng.uniform(0.5, 1.1) * rng.standard_normal(3)
                share = rng.uniform(0.5, 0.85)
                grown.append((line[-1], aside / np.linalg.norm(aside), radius * share, length * rng.uniform(0.5, 0.9)))
        tips = grown[:12]
    return np.concatenate(points), np.concatenate(radii)


def _branch(
    rng: np.random.Generator, start: Position, direction: Position, length: float, turn: float
) -> tuple[Position, Position]:
    """Walk from a start with a wandering direction, half a voxel a step; returns the points and the last direction."""
    steps = max(2, int(2 * length))
    bends = np.cumsum(rng.standard_normal((steps, 3)) * turn, axis=0)
    headings = direction + bends
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    return start + np.cumsum(0.5 * headings, axis=0), headings[-1]


def paint_tubes(mask: Mask, points: Position, radii: Position) -> None:
    """Set the voxels within a radius of each point, in place.

    Args:
        mask: bool (X, Y, Z).
        points: (P, 3) voxel indices.
        radii: (P,) in voxels.
    """
    shape = np.asarray(mask.shape)
    reach = np.maximum(radii, 0.6)[:, None]
    lower = np.maximum(np.ceil(points - reach), 0).astype(int)
    upper = np.minimum(np.floor(points + reach).astype(int) + 1, shape)
    for point, radius, low, high in zip(points, reach[:, 0], lower, upper, strict=True):
        if (low >= high).any():
            continue
        x, y, z = (np.arange(a, b) - at for a, b, at in zip(low, high, point, strict=True))
        inside = (x * x)[:, None, None] + (y * y)[:, None] + z * z <= radius * radius
        mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]] |= inside
