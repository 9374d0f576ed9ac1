"""Branching trees that fill a region: pulmonary arteries, veins and bronchi grow towards random targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEP_SHARE = 0.42
_MAX_LEVELS = 12


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Segments of several trees grown together.

    Attributes:
        start: (N, 3) canonical mm.
        end: (N, 3) canonical mm.
        load: (N,) number of targets that a segment supplies; its radius follows from it.
        root: (N,) index of the tree a segment belongs to.
    """

    start: np.ndarray
    end: np.ndarray
    load: np.ndarray
    root: np.ndarray

    def select(self, rows: np.ndarray) -> Tree:
        """Return the tree of some segments only."""
        return Tree(start=self.start[rows], end=self.end[rows], load=self.load[rows], root=self.root[rows])

    def radii(self, terminal_mm: float, exponent: float) -> np.ndarray:
        """Return segment radii after a power law in the load, in the manner of Murray."""
        return terminal_mm * self.load**exponent

    def sample(self, step_mm: float, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points (M, 3) every `step_mm` along all segments, with their radii (M,)."""
        length = np.linalg.norm(self.end - self.start, axis=1)
        counts = np.maximum(1, np.ceil(length / step_mm).astype(int))
        rows = np.repeat(np.arange(len(counts)), counts)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        share = ((np.arange(len(rows)) - first[rows]) + 0.5) / counts[rows]
        points = self.start[rows] + (self.end - self.start)[rows] * share[:, None]
        return points, radii[rows]


def _split(
    targets: np.ndarray, group: np.ndarray, count: np.ndarray, parents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centroid of each group and, per target, on which side of it the target lies across the flow."""
    centroid = np.stack([np.bincount(group, targets[:, axis]) for axis in range(3)], axis=1) / count[:, None]
    flow = centroid - parents
    flow /= np.linalg.norm(flow, axis=1, keepdims=True) + 1e-6
    residual = targets - centroid[group]
    residual -= flow[group] * (residual * flow[group]).sum(axis=1, keepdims=True)
    spread = np.stack([np.bincount(group, residual[:, axis] ** 2) for axis in range(3)], axis=1)
    axis = spread.argmax(axis=1)
    side = residual[np.arange(len(targets)), axis[group]] > 0
    return centroid, side


def grow(rng: np.random.Generator, roots: np.ndarray, targets: np.ndarray, root_of: np.ndarray) -> Tree:
    """Grow one tree per root to its targets by repeated splitting; all trees advance together, level by level.

    Args:
        rng: Source of the wiggle of the branch points.
        roots: (R, 3) canonical mm, where the trees start.
        targets: (N, 3) canonical mm, where they end.
        root_of: (N,) index of the root that supplies each target; every root must supply one.
    """
    segments: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    parents, owner, group = roots, np.arange(len(roots)), root_of
    for _ in range(_MAX_LEVELS):
        if not len(targets):
            break
        count = np.bincount(group, minlength=len(parents))
        centroid, side = _split(targets, group, count, parents)
        single = count == 1
        reach = np.where(single, 1.0, _STEP_SHARE)[:, None]
        wiggle = (
            rng.normal(0, 1, centroid.shape)
            * np.minimum(0.06 * np.linalg.norm(centroid - parents, axis=1), 3.0)[:, None]
        )
        node = parents + (centroid - parents) * reach + wiggle * ~single[:, None]
        segments.append((parents, node, count, owner))
        alive = ~single[group]
        key, group = np.unique(2 * group[alive] + side[alive], return_inverse=True)
        targets = targets[alive]
        parents, owner = node[key // 2], owner[key // 2]
    start, end, load, root = (np.concatenate(part) for part in zip(*segments, strict=True))
    return Tree(start=start, end=end, load=load, root=root)
