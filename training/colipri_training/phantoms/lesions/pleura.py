"""Pleural effusion: free fluid that layers at the back of a patient lying supine, with a meniscus."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy import lungs
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Box
from colipri_training.phantoms.scene import Scene


class PleuralEffusion(base.LesionModel):
    """Fluid on one or both sides, each with its own thickness."""

    finding = base.PLEURAL_EFFUSION

    def __init__(self, context: base.DrawContext) -> None:
        """Draw sides, thickness (14 to 72 mm) and density, and keep other lesions out of the fluid."""
        rng = context.rng("pleural effusion")
        self._thorax = context.anatomy.thorax
        side = str(rng.choice(["left", "right", "bilateral"], p=[0.28, 0.32, 0.40]))
        largest = float(14 + 58 * rng.beta(1.2, 2.2))
        self.thickness = {s: largest * (1.0 if s == side else rng.uniform(0.5, 1.0)) for s in _sides(side)}
        self.hu = float(rng.uniform(4, 24))
        thickest = max(self.thickness.values())
        size = "small" if thickest < 24 else "moderate" if thickest < 44 else "large"
        severity = {"small": "mild", "moderate": "moderate", "large": "severe"}[size]
        x = {"left": -70.0, "right": 70.0, "bilateral": 0.0}[side]
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location="pleural space",
            kind=size,
            severity=severity,
            size_mm=round(thickest - 3.0, 1),
            count=len(self.thickness),
            centroid_ras=context.world(np.array([x, -62.0, -95.0])),
        )
        self._keep_out(context)

    def _keep_out(self, context: base.DrawContext) -> None:
        points = context.anatomy.points
        x, y, z = torch.from_numpy(points.position).float().unbind(dim=1)
        fluid = self._fluid(x, y, z, torch.from_numpy(points.wall)).numpy() > -6
        context.taken.extend((point, 1.0) for point in points.position[fluid][::6])
        self.covered = fluid

    def _fluid(self, x: Tensor, y: Tensor, z: Tensor, wall: Tensor) -> Tensor:
        """Return the depth inside the fluid: a crescent along the wall, thickest at the back and the base."""
        right, left = self.thickness.get("right", 0.0), self.thickness.get("left", 0.0)
        thickness = torch.where(x > 0, right, left)
        level = -52 + 1.1 * thickness
        back = ((level - y) / 48).clamp(0, 1)
        top = -40 + 2.0 * thickness
        height = ((top - z) / 70).clamp(0, 1)
        return thickness * back * height - wall - 3.0

    def _region(self, scene: Scene) -> tuple[Box, Tensor]:
        low, high = lungs.LOW.copy(), lungs.HIGH.copy()
        if "right" not in self.thickness:
            high[0] = 0
        if "left" not in self.thickness:
            low[0] = 0
        box = scene.box(low, high)
        x, y, z = scene.coordinates(box)
        return box, self._fluid(x, y, z, self._thorax.cavity(x, y, z))

    def shape(self, scene: Scene) -> None:
        """Push the lung away from the fluid; the space it leaves is remembered for painting."""
        box, fluid = self._region(scene)
        space = scene.lung_depth[box]
        self._box, self._depth = box, torch.minimum(fluid, space)
        scene.lung_depth[box] = torch.minimum(space, -fluid)

    def paint(self, scene: Scene) -> None:
        """Fill the space with fluid and label it."""
        filled = occupancy(self._depth, scene.edge)
        scene.paint(self._box, filled, self.hu, structures.PLEURAL_EFFUSION)
        scene.mark(self._box, filled > 0.4, self.finding)


def _sides(side: str) -> tuple[str, ...]:
    return ("left", "right") if side == "bilateral" else (side,)
