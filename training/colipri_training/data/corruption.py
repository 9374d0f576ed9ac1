"""Corruptions of a sub-volume that restoration must undo: shuffled voxels, painted boxes, another intensity curve.

After Models Genesis (Zhou et al., 2019), whose chances and sizes these are, but for the shuffled blocks, which are our
choice. A numpy generator decides all of it, so a step is the same on every process and after every stop. Values lie in
[-1, 1].
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from colipri_training.checks import at_least
from colipri_training.checks import expect

_CURVE_POINTS = 256

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corruption:
    """How sub-volumes are corrupted.

    Args:
        shuffle: Chance that voxels are shuffled inside small blocks.
        shuffle_share: Share of the blocks in which they are.
        shuffle_edges: Edges that blocks may have, in voxels.
        curve: Chance that intensities go through a monotone curve, a cubic Bezier with two drawn control points.
        paint: Chance that boxes are painted over.
        outside: Share of these in which all but the boxes is painted over.
        boxes: Most boxes of a sub-volume.
        inside_edges: Least and largest edge of a painted box, as shares of the sub-volume's.
        outside_edges: The same of a box that is left.
        hide: Share of all cubes that are hidden, with 0 in their place: masked autoencoding for encoders that cannot
            leave places out (Xie et al., SimMIM, 2022). The other corruptions come first.
        hide_edge: Edge of a cube in voxels.
    """

    shuffle: float = 0.5
    shuffle_share: float = 0.5
    shuffle_edges: tuple[int, ...] = (4, 8)
    curve: float = 0.9
    paint: float = 0.9
    outside: float = 0.8
    boxes: int = 5
    inside_edges: tuple[float, float] = (0.17, 0.34)
    outside_edges: tuple[float, float] = (0.43, 0.58)
    hide: float = 0.0
    hide_edge: int = 8

    def __post_init__(self) -> None:
        """Refuse chances and shares that are none."""
        for name in ("shuffle", "shuffle_share", "curve", "paint", "outside", "hide"):
            if not 0 <= getattr(self, name) <= 1:
                msg = f"corruption.{name} must lie between 0 and 1, got {getattr(self, name)}"
                raise ValueError(msg)
        if self.paint:
            at_least(self, 1, "boxes")
            for name in ("inside_edges", "outside_edges"):
                low, high = getattr(self, name)
                expect(name, (low, high), "two rising shares of an edge", fits=0 <= low <= high <= 1)
        if self.hide:
            at_least(self, 1, "hide_edge")

    def check_fits(self, crop: int) -> None:
        """Refuse blocks that no crop of such an edge holds.

        Raises:
            ValueError: If there are.
        """
        if self.shuffle:
            fits = bool(self.shuffle_edges) and all(0 < edge <= crop for edge in self.shuffle_edges)
            expected = f"one or more edges from 1 to {crop}, the shortest of data.crop"
            expect("data.corruption.shuffle_edges", self.shuffle_edges, expected, fits=fits)


def corrupt(volume_XYZ: Tensor, options: Corruption, rng: np.random.Generator) -> Tensor:
    """Corrupt a sub-volume; how is drawn.

    Args:
        volume_XYZ: Values in [-1, 1]; left as it is.
        options: Chances and sizes.
        rng: Decides all of it.

    Returns:
        A new tensor of the same shape.
    """
    values = volume_XYZ.numpy().astype(np.float32, copy=True)
    # All chances are drawn first, so that one corruption does not depend on whether another takes place.
    shuffles, curves, paints, outside = rng.random(4)
    streams = rng.spawn(3)
    if shuffles < options.shuffle:
        values = shuffled(values, options, streams[0])
    if curves < options.curve:
        values = curved(values, streams[1])
    if paints < options.paint:
        values = painted(values, options, streams[2], outside=bool(outside < options.outside))
    if options.hide:
        values = hidden(values, options, rng)
    return torch.from_numpy(values)


def shuffled(values: Floats, options: Corruption, rng: np.random.Generator) -> Floats:
    """Put the voxels of some blocks into another order: texture goes, intensities stay."""
    edge = int(rng.choice(options.shuffle_edges))
    x, y, z = (size // edge for size in values.shape)
    inner = (slice(0, x * edge), slice(0, y * edge), slice(0, z * edge))
    blocks = rearrange(values[inner], "(x p) (y q) (z r) -> (x y z) (p q r)", p=edge, q=edge, r=edge)
    chosen = rng.random(len(blocks)) < options.shuffle_share
    blocks[chosen] = rng.permuted(blocks[chosen], axis=1)
    values[inner] = rearrange(blocks, "(x y z) (p q r) -> (x p) (y q) (z r)", x=x, y=y, p=edge, q=edge, r=edge)
    return values


def curved(values: Floats, rng: np.random.Generator) -> Floats:
    """Send intensities through a monotone curve from (-1, -1) to (1, 1): a cubic Bezier."""
    first, second = rng.uniform(-1, 1, size=(2, 2))
    t = np.linspace(0, 1, _CURVE_POINTS)[:, None]
    points = 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second + t**3 - (1 - t) ** 3
    # With its control points in the unit square the curve never turns back along either axis.
    return np.interp(values, points[:, 0], points[:, 1]).astype(np.float32)


def painted(values: Floats, options: Corruption, rng: np.random.Generator, *, outside: bool) -> Floats:
    """Paint boxes over, or all but boxes, with one value or with noise."""
    edges = options.outside_edges if outside else options.inside_edges
    hidden = np.zeros(values.shape, dtype=bool)
    for _ in range(int(rng.integers(1, options.boxes + 1))):
        hidden[_box(values.shape, edges, rng)] = True
    if outside:
        hidden = ~hidden
    is_noise, value = rng.random() < 0.5, rng.uniform(-1, 1)
    fill = rng.uniform(-1, 1, size=int(hidden.sum())) if is_noise else value
    values[hidden] = fill
    return values


def hidden(values: Floats, options: Corruption, rng: np.random.Generator) -> Floats:
    """Put 0 in the place of a share of all cubes; those at the end of an axis may be cut."""
    edge = options.hide_edge
    cubes = [-(-size // edge) for size in values.shape]
    chosen = np.zeros(int(np.prod(cubes)), dtype=bool)
    chosen[rng.permutation(len(chosen))[: round(options.hide * len(chosen))]] = True
    where = chosen.reshape(cubes)
    for axis, size in enumerate(values.shape):
        where = where.repeat(edge, axis=axis).take(range(size), axis=axis)
    values[where] = 0
    return values


def _box(shape: tuple[int, ...], edges: tuple[float, float], rng: np.random.Generator) -> tuple[slice, ...]:
    sizes = [max(1, round(rng.uniform(*edges) * length)) for length in shape]
    starts = [int(rng.integers(0, length - size + 1)) for length, size in zip(shape, sizes, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
