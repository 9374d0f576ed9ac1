"""The mediastinum: great vessels, trachea and main bronchi, oesophagus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.heart import Heart
from colipri_training.phantoms.anatomy.thorax import AORTA_X
from colipri_training.phantoms.anatomy.thorax import AORTA_Y
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.scene import Scene


def spline(nodes: Sequence[ArrayLike], step_mm: float = 2.5) -> np.ndarray:
    """Return points (N, 3) about every `step_mm` along a Catmull-Rom curve through the nodes."""
    points = np.stack([np.asarray(node, dtype=np.float64) for node in nodes])
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        count = max(2, int(np.ceil(np.linalg.norm(c - b) / step_mm)))
        t = np.linspace(0, 1, count, endpoint=False)[:, None]
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*parts, points[-1:]])


class GreatVessels:
    """Courses and radii of the aorta, its branches, the pulmonary arteries and the caval veins of one patient."""

    def __init__(self, seed: int, heart: Heart, age: float) -> None:
        """Draw the calibres; the aorta widens and unfolds with age."""
        rng = stream(seed, "great vessels")
        self.wide = 1 + 0.004 * (age - 55) + float(rng.normal(0, 0.05))
        self.arch = float(rng.normal(28, 5)) + 0.1 * (age - 55)
        self.wiggle = rng.normal(0, 1.5, (8, 3))
        root = heart.centre + heart.scale * np.array([8.0, 0.0, 32.0])
        self.root = root
        self.low_z = -235.0

    def aorta(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the course (N, 3) and radii (N,) of the aorta from its root to the abdomen."""
        arch = self.arch
        bow: list[ArrayLike] = [
            self.root,
            (16, 18, -12),
            (12, 14, arch - 14),
            (0, 0, arch),
            (-16, -22, arch - 2),
            (-26, -37, arch - 20),
        ]
        heights = np.linspace(arch - 40, self.low_z, 9)
        z = torch.from_numpy(heights).float()
        down = np.stack([AORTA_X(z).numpy(), AORTA_Y(z).numpy(), heights], axis=1)
        course = spline([*bow, *down])
        share = np.linspace(0, 1, len(course))
        radius = np.interp(share, [0, 0.06, 0.22, 0.35, 1.0], [15.0, 16.0, 14.5, 12.0, 10.0])
        return course, radius * self.wide

    def branches(self) -> list[tuple[np.ndarray, float]]:
        """Return the three arteries of the arch."""
        top = self.arch
        return [
            (spline([(8, 8, top + 2), (14, 6, 55), (26, -2, 85), (34, -8, 130)]), 6.0),
            (spline([(-4, -4, top + 6), (-12, -4, 60), (-20, -8, 130), (-22, -8, 190)]), 4.0),
            (spline([(-16, -20, top + 4), (-22, -20, 60), (-26, -14, 100), (-52, -2, 117), (-88, 4, 104)]), 5.0),
        ]

    def pulmonary(self) -> list[tuple[np.ndarray, float]]:
        """Return the pulmonary trunk and its two main branches."""
        valve = self.root + np.array([-20.0, 22.0, 2.0])
        fork = np.array([-16.0, 2.0, -8.0])
        return [
            (spline([valve, (-20, 26, -18), fork]), 13.0),
            (spline([fork, (2, -4, -14), (22, -8, -17), (42, -11, -18)]), 10.0),
            (spline([fork, (-28, -8, -4), (-42, -16, -8)]), 10.0),
        ]

    def veins(self) -> list[tuple[np.ndarray, float]]:
        """Return the caval veins, the brachiocephalic veins and the azygos vein."""
        return [
            (spline([(24, 18, 42), (27, 12, 10), (28, 10, -30)]), 9.0),
            (spline([(24, 18, 42), (32, 10, 70), (38, 0, 110)]), 7.0),
            (spline([(24, 18, 42), (-5, 30, 50), (-32, 14, 72), (-38, 2, 100)]), 6.5),
            (spline([(27, 0, -78), (25, -4, -110), (20, -6, -235)]), 11.0),
            (spline([(9, -34, -150), (9, -34, -20), (14, -30, 4), (24, -6, 10)]), 4.0),
        ]

    def pulmonary_veins(self, heart: Heart) -> list[tuple[np.ndarray, float]]:
        """Return the four stems of the pulmonary veins into the left atrium."""
        atrium = heart.centre + heart.scale * np.array([4.0, -30.0, 20.0])
        ends = [(46, -6, -26), (46, -22, -50), (-46, -6, -26), (-46, -24, -48)]
        return [(spline([atrium, end]), 6.0) for end in ends]

    def paint(self, scene: Scene, heart: Heart) -> None:
        """Paint all great vessels; walls are not drawn apart from the aorta's in unenhanced anaemic blood."""
        blood = scene.patient.blood
        for course, radius in self.veins():
            _tube(scene, course, radius, blood.veins, structures.BODY)
        for course, radius in self.pulmonary_veins(heart):
            _tube(scene, course, radius, blood.left_heart, structures.BODY)
        for course, radius in self.branches():
            _tube(scene, course, radius * self.wide, blood.aorta, structures.BODY)
        for course, radius in self.pulmonary():
            _tube(scene, course, radius, blood.pulmonary, structures.PULMONARY_ARTERY)
        course, radii = self.aorta()
        _tube(scene, course, radii + 1.2, max(45.0, 0.3 * blood.aorta + 30), structures.AORTA)
        _tube(scene, course, radii, blood.aorta, structures.AORTA)


def _tube(scene: Scene, course: np.ndarray, radius: float | np.ndarray, value: float, label: int) -> None:
    splat = scene.splat(course, radius)
    scene.paint(splat.box, splat.occupied, value, label)


def airway_courses() -> list[tuple[np.ndarray, float]]:
    """Return the trachea, main, intermediate and lobar bronchi as courses with lumen radii."""
    carina = (2.0, -16.0, 0.0)
    return [
        (spline([(0, 6, 190), (0, -2, 120), (1, -10, 60), carina]), 8.6),
        (spline([carina, (16, -18, -13), (28, -17, -20)]), 6.8),
        (spline([(26, -17, -18), (36, -13, -8), (43, -13, -4)]), 4.2),
        (spline([(28, -17, -20), (33, -20, -36), (40, -24, -46)]), 5.2),
        (spline([(32, -16, -30), (46, -2, -36)]), 3.2),
        (spline([carina, (-16, -20, -12), (-32, -22, -24)]), 6.0),
        (spline([(-32, -22, -24), (-45, -12, -14)]), 4.4),
        (spline([(-32, -22, -24), (-42, -28, -38)]), 4.6),
    ]


def paint_airways(scene: Scene, wall_mm: float) -> None:
    """Paint the trachea and the central bronchi with walls."""
    for course, radius in airway_courses():
        _tube(scene, course, radius + wall_mm, 35.0, structures.AIRWAYS)
    for course, radius in airway_courses():
        _tube(scene, course, radius, -990.0, structures.AIRWAYS)


def paint_oesophagus(scene: Scene) -> None:
    """Paint the oesophagus, with a little gas at times."""
    rng = stream(scene.patient.seed, "oesophagus")
    course = spline([(-2, -10, 190), (-4, -24, 100), (-3, -34, 40), (-3, -33, -10), (-6, -30, -80), (-20, -12, -125)])
    _tube(scene, course, 7.5, 38.0, structures.OESOPHAGUS)
    for middle in rng.choice(len(course), size=int(rng.integers(0, 4)), replace=False):
        splat = scene.splat(course[middle : middle + 5], rng.uniform(2.0, 4.0))
        scene.paint(splat.box, splat.occupied, -850.0)
