"""Hiatal hernia: a pouch of stomach behind the heart, above the diaphragm."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.fields import ellipsoid_depth
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Box
from colipri_training.phantoms.scene import Scene


class HiatalHernia(base.LesionModel):
    """A pouch of 40 to 90 mm with a wall, contents and often a gas bubble in front."""

    finding = base.HIATAL_HERNIA

    def __init__(self, context: base.DrawContext) -> None:
        """Draw size and contents."""
        rng = context.rng("hernia")
        share = float(rng.uniform(0, 1))
        self.radii = (19 + 22 * share, 16 + 9 * share, 19 + 18 * share)
        self.centre = np.array([rng.uniform(-16, 4), -27.0, -101.0 + 8 * share])
        self.gas = bool(rng.random() < 0.65)
        self.level = float(rng.uniform(-0.3, 0.4))
        self.contents = float(rng.uniform(5, 40))
        self.lesion = Lesion(
            finding=self.finding,
            side="midline",
            location="retrocardiac",
            kind="with gas" if self.gas else "without gas",
            severity=base.severity_of(share),
            size_mm=round(2 * self.radii[0], 1),
            count=1,
            centroid_ras=context.world(self.centre),
        )

    def _depth(self, scene: Scene) -> tuple[Box, Tensor]:
        reach = np.asarray(self.radii) + 4
        box = scene.box(self.centre - reach, self.centre + reach)
        x, y, z = scene.coordinates(box)
        offset = tuple(axis - float(c) for axis, c in zip((x, y, z), self.centre, strict=True))
        return box, ellipsoid_depth(offset, self.radii)  # type: ignore[arg-type]

    def shape(self, scene: Scene) -> None:
        """Push the lungs aside."""
        box, depth = self._depth(scene)
        scene.lung_depth[box] = torch.minimum(scene.lung_depth[box], -depth)

    def paint(self, scene: Scene) -> None:
        """Paint wall, contents and gas behind the heart and around the spine and the aorta."""
        box, depth = self._depth(scene)
        labels = scene.labels[box]
        free = (labels != structures.HEART) & (labels != structures.SPINE) & (labels != structures.AORTA)
        filled = occupancy(depth, scene.edge) * free
        scene.paint(box, filled, 45.0, structures.STOMACH)
        scene.mark(box, filled > 0.5, self.finding)
        inner = occupancy(depth - 3.5, scene.edge) * free
        scene.paint(box, inner, self.contents)
        if self.gas:
            _, y, _ = scene.coordinates(box)
            front = occupancy(y - float(self.centre[1] + self.level * self.radii[1]), scene.edge)
            scene.paint(box, inner * front, -970.0)
