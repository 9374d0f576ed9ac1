"""The upper abdomen below the diaphragm: liver, spleen, stomach, kidneys, bowel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.thorax import Thorax
from colipri_training.phantoms.fields import ellipsoid_depth
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.scene import Box
from colipri_training.phantoms.scene import Scene

_WALL_MM = 3.0


class Abdomen:
    """Paints the organs of one patient into the space under the diaphragm."""

    def __init__(self, scene: Scene, thorax: Thorax) -> None:
        """Evaluate the abdominal cavity once: inside the cage, below the diaphragm."""
        self.scene = scene
        self.rng = stream(scene.patient.seed, "abdomen")
        self.box: Box = scene.box((-138, -92, scene.patient.coverage[0] - 20), (138, 96, -66))
        self.x, self.y, self.z = scene.coordinates(self.box)
        below = (thorax.diaphragm(self.x, self.y) - self.z) * 0.75
        spine = (self.x.square() + (self.y + 50).clamp(min=0).square()).sqrt() - 27
        self.cavity = torch.minimum(thorax.cavity(self.x, self.y, self.z), spine)
        self.room = torch.minimum(below, self.cavity)
        self.enhanced = scene.patient.blood.phase != "unenhanced"

    def paint(self) -> None:
        """Paint diaphragm, bowel, kidneys, spleen, stomach and liver, in that order."""
        if not self.room.numel():
            return
        scene, patient = self.scene, self.scene.patient
        muscle = torch.minimum(self.room, _WALL_MM - self.room)
        scene.paint_depth(self.box, muscle, patient.muscle_hu, structures.BODY)
        self._bowel()
        self._organ((62, -42, -206), (27, 24, 52), self._enhance(32, 150), structures.KIDNEYS)
        self._organ((-62, -42, -198), (27, 24, 52), self._enhance(32, 150), structures.KIDNEYS)
        self._organ((-92, -36, -146), (36, 42, 48), self._enhance(48, 115), structures.SPLEEN)
        self._stomach()
        self._liver()

    def _enhance(self, plain: float, enhanced: float) -> float:
        jitter = float(self.rng.normal(0, 0.06))
        return (enhanced if self.enhanced else plain) * (1 + jitter)

    def _organ(self, centre: tuple[float, ...], radii: tuple[float, ...], value: float, label: int) -> None:
        scale = self.rng.uniform(0.85, 1.15)
        moved = np.asarray(centre) + self.rng.normal(0, 4, 3)
        offset = (self.x - moved[0], self.y - moved[1], self.z - moved[2])
        depth = torch.minimum(ellipsoid_depth(offset, [radius * scale for radius in radii]), self.room - 4)
        self.scene.paint_depth(self.box, depth, value, label)

    def _stomach(self) -> None:
        """Paint the stomach: a wall, contents, and gas in front, where it rises in a patient lying on the back."""
        centre = np.array([-58, 26, -150]) + self.rng.normal(0, 6, 3)
        radii = np.array([44, 42, 44]) * self.rng.uniform(0.75, 1.15, 3)
        offset = (self.x - centre[0], self.y - centre[1], self.z - centre[2])
        depth = torch.minimum(ellipsoid_depth(offset, radii.tolist()), self.room - 4)
        self.scene.paint_depth(self.box, depth, 45.0, structures.STOMACH)
        self.scene.paint_depth(self.box, depth - 4, float(self.rng.uniform(5, 60)))
        level = centre[1] + radii[1] * self.rng.uniform(-0.3, 0.9)
        gas = torch.minimum(depth - 4, self.y - level)
        self.scene.paint_depth(self.box, gas, -990.0)

    def _liver(self) -> None:
        """Paint the liver under the right dome, its left lobe thinning out under the heart."""
        reach = self.rng.uniform(-70, -25)
        slant = (self.x - reach) * 0.45 + (self.z + 118) * 0.55 + 0.30 * (self.y - 10)
        left = torch.where(self.x > 30, torch.full_like(slant, 60.0), slant)
        bottom = (self.z - self.rng.uniform(-240, -200)) * 0.8 + 0.2 * self.x
        depth = torch.minimum(torch.minimum(left, bottom), self.room - 4)
        texture = self.scene.noise("liver", 20.0, self.box)
        base = self._enhance(self.scene.patient.liver_hu, self.scene.patient.liver_hu + 48)
        self.scene.paint_depth(self.box, depth, base + 3 * texture, structures.LIVER)
        if self.enhanced:
            self._vessels(depth, base)

    def _vessels(self, depth: Tensor, base: float) -> None:
        """Brighten hepatic veins, drawn as tubes of a ridge noise inside the liver."""
        first, second = self.scene.noise("hepatic 1", 42.0, self.box), self.scene.noise("hepatic 2", 42.0, self.box)
        tubes = 4.0 - (first.square() + second.square()).sqrt() * 30
        self.scene.paint_depth(self.box, torch.minimum(tubes, depth - 6), base + 40)

    def _bowel(self) -> None:
        """Fill the front of the belly with bowel loops, some holding gas."""
        count = 46
        low = np.array([-110, -20, -235])
        points = low + self.rng.random((count, 3)) * np.array([200, 90, 65])
        radii = self.rng.uniform(11, 19, count)
        gassy = self.rng.random(count) < 0.3
        for part, shrink, value in ((np.ones(count, bool), 0, 35.0), (gassy, 3, -950.0)):
            if part.any():
                splat = self.scene.splat(points[part], radii[part] - shrink)
                inside = self._inside(splat.box)
                self.scene.paint(splat.box, splat.occupied * inside, value)

    def _inside(self, box: Box) -> Tensor:
        """Return where a box of the scene lies in the abdominal cavity, as 0 or 1."""
        full = torch.zeros(self.scene.grid.shape, device=self.scene.device)
        full[self.box] = (self.room > 6).float()
        return full[box]
