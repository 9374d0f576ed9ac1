"""The lungs: where their lobes are, points inside them, their vessels and bronchi, and their parenchyma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.heart import FAT_MM
from colipri_training.phantoms.anatomy.thorax import Thorax
from colipri_training.phantoms.anatomy.tree import Tree
from colipri_training.phantoms.anatomy.tree import grow
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.scene import Box
from colipri_training.phantoms.scene import Scene

LOW = np.array([-136.0, -92.0, -185.0])
HIGH = np.array([136.0, 96.0, 116.0])
_CANDIDATES = 9000
_HILA = {
    structures.LEFT_UPPER_LOBE: (-43.0, -8.0, -8.0),
    structures.LEFT_LOWER_LOBE: (-43.0, -24.0, -26.0),
    structures.RIGHT_UPPER_LOBE: (41.0, -12.0, -6.0),
    structures.RIGHT_MIDDLE_LOBE: (44.0, 0.0, -30.0),
    structures.RIGHT_LOWER_LOBE: (40.0, -22.0, -34.0),
}


@dataclass(frozen=True, kw_only=True)
class LungPoints:
    """Random points inside the normal lungs.

    Attributes:
        position: (N, 3) canonical mm.
        depth: (N,) mm to the nearest border of the lung.
        wall: (N,) mm to the chest wall.
        lobe: (N,) lobe label.
    """

    position: np.ndarray
    depth: np.ndarray
    wall: np.ndarray
    lobe: np.ndarray


def sample_points(seed: int, thorax: Thorax) -> LungPoints:
    """Draw points uniformly in the lungs, the same for the same seed."""
    candidates = LOW + stream(seed, "lung points").random((_CANDIDATES, 3)) * (HIGH - LOW)
    x, y, z = torch.from_numpy(candidates).float().unbind(dim=1)
    depth = thorax.lungs(x, y, z)
    inside = depth > 2.0
    wall = thorax.cavity(x, y, z)
    return LungPoints(
        position=candidates[inside.numpy()],
        depth=depth[inside].numpy(),
        wall=wall[inside].numpy(),
        lobe=thorax.lobes(x, y, z)[inside].numpy(),
    )


@dataclass(frozen=True, kw_only=True)
class LungTrees:
    """Arteries, veins and bronchi; tree i of each belongs to lobe `structures.LUNG_LOBES[i]`."""

    arteries: Tree
    veins: Tree
    bronchi: Tree


def grow_trees(seed: int, points: LungPoints) -> LungTrees:
    """Grow the three trees of every lobe from its hilum."""
    rng = stream(seed, "trees")
    hila = np.array([_HILA[lobe] for lobe in structures.LUNG_LOBES])
    parts = {}
    for name, count, offset in (
        ("arteries", 520, (0, 3, 3)),
        ("veins", 360, (-2, 9, -14)),
        ("bronchi", 75, (0, -2, -2)),
    ):
        roots = hila + np.asarray(offset) * np.array([1.0, 1.0, 1.0])
        rows = np.concatenate([_targets(rng, points, lobe, count) for lobe in structures.LUNG_LOBES])
        order = np.searchsorted(structures.LUNG_LOBES, points.lobe[rows])
        parts[name] = grow(rng, roots, points.position[rows], order)
    return LungTrees(**parts)


def _targets(rng: np.random.Generator, points: LungPoints, lobe: int, total: int) -> np.ndarray:
    """Pick target points of one lobe, in proportion to its volume, at least three."""
    rows = np.flatnonzero((points.lobe == lobe) & (points.depth > 4))
    share = max(3, int(total * len(rows) / max(1, len(points.lobe))))
    return rng.choice(rows, size=min(share, len(rows)), replace=False)


def find_lungs(scene: Scene, thorax: Thorax) -> Box:
    """Write the depth and the lobes of the normal lungs into the scene; returns the box that holds them."""
    box = scene.box(LOW, HIGH)
    x, y, z = scene.coordinates(box)
    scene.lung_depth[box] = thorax.lungs(x, y, z, heart=False)
    scene.lobes[box] = thorax.lobes(x, y, z)
    near = scene.box(*thorax.heart.bounds(FAT_MM + thorax.heart.sac_mm + 12))
    around = thorax.around_heart(*scene.coordinates(near))
    scene.lung_depth[near] = torch.minimum(scene.lung_depth[near], around)
    return box


def paint_parenchyma(scene: Scene, thorax: Thorax, box: Box) -> None:
    """Paint aerated lung with texture and a gravity gradient, and the fissures as thin lines."""
    x, y, z = scene.coordinates(box)
    depth = scene.lung_depth[box]
    value = scene.noise("parenchyma", 13.0, box).mul_(11).add_(scene.noise("lobules", 6.5, box), alpha=14)
    value += scene.patient.lung_hu - 0.28 * y
    value += 60 * (1 - depth / 5).clamp(0, 1) * (y < -20)
    filled = occupancy(depth, scene.edge)
    scene.paint(box, filled, value)
    inside = filled > 0.5
    scene.labels[box][inside] = scene.lobes[box][inside]
    oblique, horizontal = thorax.fissures(x, y, z)
    level = torch.where((x > 0) & (oblique > 0), torch.minimum(oblique.abs(), horizontal.abs()), oblique.abs())
    line = occupancy(0.5 * scene.edge - level, scene.edge) * min(1.0, 0.6 / scene.edge)
    scene.paint(box, line * filled, -250.0)


def paint_vessels(scene: Scene, trees: LungTrees) -> None:
    """Paint the pulmonary vessels inside the lungs, tapering from the hila."""
    blood = scene.patient.blood
    for tree, terminal, value in ((trees.arteries, 0.95, blood.pulmonary), (trees.veins, 0.9, blood.left_heart)):
        radii = tree.radii(terminal, 0.36)
        points, radius = tree.sample(min(2.0, 0.5 * scene.edge), radii)
        splat = scene.splat(points, radius)
        scene.paint(splat.box, splat.occupied * lung_share(scene, splat.box), value)


def paint_bronchi(scene: Scene, tree: Tree, wall_mm: float) -> None:
    """Paint bronchi with walls of the given minimal thickness inside the lungs."""
    lumen = tree.radii(1.0, 0.40)
    wall = np.maximum(wall_mm, 0.22 * lumen)
    step = min(2.0, 0.5 * scene.edge)
    points, radius = tree.sample(step, lumen)
    _, outer = tree.sample(step, lumen + wall)
    shell = scene.splat(points, outer)
    share = lung_share(scene, shell.box)
    scene.paint(shell.box, shell.occupied * share, 30.0)
    hole = scene.splat(points, radius)
    scene.paint(hole.box, hole.occupied * lung_share(scene, hole.box), -960.0)


def lung_share(scene: Scene, box: Box, margin_mm: float = 0.0) -> torch.Tensor:
    """Return the share of each voxel of a box that is lung."""
    return occupancy(scene.lung_depth[box] + margin_mm, scene.edge)
