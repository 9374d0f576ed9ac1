"""Airway disease: thickened bronchial walls and bronchiectasis."""

from __future__ import annotations

import numpy as np
import torch

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.lungs import lung_share
from colipri_training.phantoms.anatomy.tree import Tree
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Scene

NORMAL_WALL_MM = 0.6


class PeribronchialThickening(base.LesionModel):
    """Thick bright walls around the bronchi of both lungs."""

    finding = base.PERIBRONCHIAL_THICKENING

    def __init__(self, context: base.DrawContext) -> None:
        """Draw the wall thickness, 1.8 to 3.6 mm."""
        rng = context.rng("peribronchial")
        self.wall_mm = float(rng.uniform(1.8, 3.6))
        tree = context.anatomy.trees.bronchi
        self.tree = tree.select(np.flatnonzero(tree.load >= 2))
        self.lesion = Lesion(
            finding=self.finding,
            side="bilateral",
            location=str(rng.choice(["both lungs", "central airways"])),
            kind="diffuse",
            severity=base.severity_of((self.wall_mm - 1.8) / 1.8),
            size_mm=round(self.wall_mm, 1),
            count=1,
            centroid_ras=context.world(np.array([0.0, -15.0, -30.0])),
        )

    def paint(self, scene: Scene) -> None:
        """Paint the thick walls, reopen the lumina, mark the walls."""
        lumen = np.minimum(self.tree.radii(1.0, 0.40), 4.0)
        step = min(2.0, 0.5 * scene.edge)
        points, inner = self.tree.sample(step, lumen)
        outer = inner + self.wall_mm
        wall = scene.splat(points, outer)
        share = wall.occupied * lung_share(scene, wall.box)
        scene.paint(wall.box, share, 40.0)
        scene.mark(wall.box, share > 0.4, self.finding)
        hole = scene.splat(points, inner)
        scene.paint(hole.box, hole.occupied * lung_share(scene, hole.box), -940.0)


class Bronchiectasis(base.LesionModel):
    """Dilated bronchi with thick walls in one to three lobes: cylindrical, varicose or cystic."""

    finding = base.BRONCHIECTASIS

    def __init__(self, context: base.DrawContext) -> None:
        """Draw lobes, kind and calibre."""
        rng = context.rng("bronchiectasis")
        self.kind = str(rng.choice(["cylindrical", "varicose", "cystic"], p=[0.55, 0.2, 0.25]))
        weights = np.array([0.7, 1.2, 0.7, 1.3, 1.2])
        picked = rng.choice(5, size=int(rng.integers(1, 4)), replace=False, p=weights / weights.sum())
        lobes = [structures.LUNG_LOBES[index] for index in picked]
        self.lumen = float(rng.uniform(2.8, 4.8))
        self.wall = float(rng.uniform(1.1, 1.9))
        tree = context.anatomy.trees.bronchi
        self.points, self.radii = self._draw_tubes(rng, tree.select(np.flatnonzero(np.isin(tree.root, picked))))
        side, location = base.lobes_place(lobes)
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location=location,
            kind=self.kind,
            severity=base.severity_of((self.lumen - 2.8) / 2.0),
            size_mm=round(2 * float(self.radii.max()), 1),
            count=len(picked),
            centroid_ras=context.world(self.points.mean(axis=0)),
        )

    def _draw_tubes(self, rng: np.random.Generator, tree: Tree) -> tuple[np.ndarray, np.ndarray]:
        """Return points and lumen radii: dilated tubes that do not taper, or strings of cysts."""
        part = tree.select(np.flatnonzero(tree.load <= 7))
        if self.kind == "cystic":
            ends = part.end[rng.choice(len(part.end), size=min(14, len(part.end)), replace=False)]
            return ends, rng.uniform(1.3, 2.1, len(ends)) * self.lumen
        points, radii = part.sample(2.0, np.full(len(part.load), self.lumen))
        if self.kind == "varicose":
            radii = radii * (1 + 0.35 * np.sin(np.arange(len(radii)) * 1.3))
        return points, radii

    def paint(self, scene: Scene) -> None:
        """Paint walls, then lumina; mark both."""
        wall = scene.splat(self.points, self.radii + self.wall)
        share = wall.occupied * lung_share(scene, wall.box)
        scene.paint(wall.box, share, 20.0)
        air = scene.splat(self.points, self.radii)
        scene.paint(air.box, air.occupied * lung_share(scene, air.box), -965.0)
        scene.mark(
            wall.box, share > torch.clamp(0.4 * share.max(), min=0.05) if share.numel() else share > 1, self.finding
        )
