"""The heart: four chambers joined into one muscle, the pericardial sac with its fat, and the coronary courses."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.fields import ellipsoid_depth
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.fields import smooth_max
from colipri_training.phantoms.patient import Patient
from colipri_training.phantoms.patient import inner_width_mm
from colipri_training.phantoms.scene import Scene

CENTRE = np.array([-8.0, 25.0, -62.0])
_LONG_AXIS = np.array([-0.70, 0.55, -0.45]) / np.linalg.norm([-0.70, 0.55, -0.45])
FAT_MM = 5.0

# Chamber: offset of its centre from the heart's, radii, and whether its first radius runs along the long axis.
_CHAMBERS = {
    "left ventricle": ((-22.0, 0.0, -8.0), (46.0, 31.0, 31.0), True),
    "right ventricle": ((4.0, 20.0, -7.0), (42.0, 25.0, 32.0), True),
    "right atrium": ((37.0, -3.0, 6.0), (25.0, 26.0, 33.0), False),
    "left atrium": ((4.0, -30.0, 20.0), (33.0, 18.0, 20.0), False),
}
_WALL_MM = {"left ventricle": 9.5, "right ventricle": 3.5, "right atrium": 2.5, "left atrium": 2.5}


def _axes() -> np.ndarray:
    across = np.cross(_LONG_AXIS, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    return np.stack([_LONG_AXIS, across, np.cross(_LONG_AXIS, across)])


def _chamber_depth(name: str, offset: tuple[Tensor, Tensor, Tensor], shrink_mm: float) -> Tensor:
    centre, radii, oblique = _CHAMBERS[name]
    x, y, z = (component - middle for component, middle in zip(offset, centre, strict=True))
    smaller = [radius - shrink_mm for radius in radii]
    if not oblique:
        return ellipsoid_depth((x, y, z), smaller)
    along, across, normal = _axes().tolist()
    rotated = [row[0] * x + row[1] * y + row[2] * z for row in (along, across, normal)]
    return ellipsoid_depth((rotated[0], rotated[1], rotated[2]), smaller)


def _union(offset: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    left, right, atrium, posterior = (_chamber_depth(name, offset, 0.0) for name in _CHAMBERS)
    return smooth_max(smooth_max(left, right, 9.0), smooth_max(atrium, posterior, 9.0), 9.0)


@cache
def _unit_extent() -> tuple[float, float]:
    """Return the leftmost and rightmost x of the heart at scale 1, relative to its centre."""
    x = torch.linspace(-110, 90, 401)
    grids = torch.meshgrid(x, torch.linspace(-70, 70, 71), torch.linspace(-70, 60, 66), indexing="ij")
    filled = (_union((grids[0], grids[1], grids[2])) > 0).flatten(1).any(dim=1)
    return float(x[filled].min()), float(x[filled].max())


class Heart:
    """The heart of one patient, scaled so that its width is the drawn share of the inner thoracic width."""

    def __init__(self, patient: Patient) -> None:
        """Derive the scale and position from the patient's cardiothoracic ratio."""
        left, right = _unit_extent()
        self.scale = patient.heart_ratio * inner_width_mm() / (right - left)
        self.centre = CENTRE + np.array([-14.0, 2.0, 4.0]) * (self.scale - 0.85)
        self.sac_mm = patient.sac_mm

    def depth(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return canonical mm inside the epicardium."""
        return _union(self._offset(x, y, z)) * self.scale

    def bounds(self, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the canonical corners of a box that holds the heart and a margin."""
        low, high = np.array([-84.0, -52.0, -62.0]), np.array([66.0, 62.0, 48.0])
        return self.centre + low * self.scale - margin, self.centre + high * self.scale + margin

    def surface(self, directions: np.ndarray) -> np.ndarray:
        """Return the canonical points (N, 3) where rays from the centre along `directions` leave the heart."""
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        low, high = np.zeros(len(unit)), np.full(len(unit), 130.0)
        for _ in range(12):
            middle = (low + high) / 2
            points = torch.from_numpy(self.centre + unit * middle[:, None]).float()
            inside = self.depth(points[:, 0], points[:, 1], points[:, 2]).numpy() > 0
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        surface: np.ndarray = self.centre + unit * low[:, None]
        return surface

    def coronaries(self) -> dict[str, np.ndarray]:
        """Return the canonical course (N, 3) of the three main coronary arteries on the epicardial surface."""
        t = np.linspace(0, 1, 40)[:, None]
        courses = {
            "left anterior descending": ([0.05, 0.55, 0.80], [-0.85, 0.75, -0.15], [-0.75, 0.60, -0.55]),
            "left circumflex": ([-0.30, 0.20, 0.90], [-0.95, -0.45, 0.40], [-0.70, -0.75, -0.30]),
            "right coronary": ([0.25, 0.60, 0.65], [0.95, 0.75, -0.05], [0.55, 0.15, -0.90]),
        }
        directions = [(1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in map(np.array, courses.values())]
        points = self.surface(np.concatenate(directions))
        return dict(zip(courses, np.split(points, len(courses)), strict=True))

    def _offset(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cx, cy, cz = self.centre.tolist()
        return (x - cx) / self.scale, (y - cy) / self.scale, (z - cz) / self.scale

    def paint(self, scene: Scene, finding: int) -> None:
        """Paint epicardial fat, pericardial fluid (with the bit of `finding`), muscle and chambers."""
        box = scene.box(*self.bounds(FAT_MM + self.sac_mm))
        x, y, z = scene.coordinates(box)
        depth = self.depth(x, y, z)
        patient = scene.patient
        scene.paint(box, occupancy(depth + self.sac_mm + FAT_MM, scene.edge), patient.fat_hu, structures.BODY)
        if self.sac_mm > 0:
            fluid = occupancy(depth + self._fluid_mm(z), scene.edge)
            scene.paint(box, fluid, 14.0, structures.BODY)
            scene.mark(box, (fluid > 0.4) & (depth < 0), finding)
        scene.paint_depth(box, depth, self._muscle_hu(patient), structures.HEART)
        for name in _CHAMBERS:
            side = patient.blood.left_heart if name.startswith("left") else patient.blood.right_heart
            cavity = _chamber_depth(name, self._offset(x, y, z), _WALL_MM[name]) * self.scale
            scene.paint_depth(box, cavity, side)

    def _fluid_mm(self, z: Tensor) -> Tensor:
        """Return the fluid thickness: fluid collects low in the sac."""
        low = ((float(self.centre[2]) + 25 - z) / 60).clamp(0, 1)
        return self.sac_mm * (0.55 + 0.45 * low)

    @staticmethod
    def _muscle_hu(patient: Patient) -> float:
        if patient.blood.phase == "unenhanced":
            return patient.blood.left_heart + 6.0
        return 70.0 + 0.22 * patient.blood.left_heart
