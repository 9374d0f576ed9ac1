"""Medical material: pacemakers, ports, sternal wires, stents, clips, lines, tubes and spinal hardware."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from colipri_training.phantoms.anatomy.mediastinum import spline
from colipri_training.phantoms.anatomy.thorax import CAVITY_DEPTH
from colipri_training.phantoms.anatomy.thorax import CAVITY_Y
from colipri_training.phantoms.anatomy.thorax import TRUNK_DEPTH
from colipri_training.phantoms.anatomy.thorax import TRUNK_Y
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Scene

Device = tuple[np.ndarray, np.ndarray, str, str]


def _front(z: float, x: float) -> float:
    """Return the canonical y just under the skin of the front of the chest."""
    return TRUNK_Y.at(z) + TRUNK_DEPTH.at(z) - 5 - 0.0012 * x * x


def _with_radius(points: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    return points, np.full(len(points), radius)


def _pacemaker(context: base.DrawContext, rng: np.random.Generator) -> Device:
    x, z = -78.0 + rng.normal(0, 4), 52.0
    y = _front(z, x)
    u, w = (part.ravel() for part in np.meshgrid(np.linspace(-18, 18, 10), np.linspace(-20, 20, 10)))
    can, can_radius = _with_radius(np.stack([x + u, np.full(100, y), z + w], axis=1), 4.0)
    tip = context.anatomy.heart.centre + context.anatomy.heart.scale * np.array([-22.0, 16.0, -22.0])
    lead = spline([(x, y, z), (-50, y - 12, 74), (-8, 30, 52), (24, 18, 38), (28, 10, -30), (22, 14, -58), tip])
    lead, lead_radius = _with_radius(lead, 1.5)
    return np.concatenate([can, lead]), np.concatenate([can_radius, lead_radius]), "left", "left chest wall"


def _port(_: base.DrawContext, rng: np.random.Generator) -> Device:
    x, z = 72.0 + rng.normal(0, 4), 48.0
    y = _front(z, x)
    angle = np.linspace(0, 2 * np.pi, 24)
    disc = np.stack([x + 10 * np.cos(angle), np.full(24, y), z + 10 * np.sin(angle)], axis=1)
    line = spline([(x, y, z), (52, y - 10, 84), (34, 12, 82), (26, 16, 42), (28, 10, -18)])
    points = np.concatenate([disc, disc * [1, 1, 1] + (np.array([x, y, z]) - disc) * 0.5, line])
    radius = np.concatenate([np.full(48, 3.2), np.full(len(line), 1.4)])
    return points, radius, "right", "right chest wall"


def _sternal_wires(_: base.DrawContext, rng: np.random.Generator) -> Device:
    loops = []
    for z in np.linspace(36, -54, int(rng.integers(5, 8))):
        y = CAVITY_Y.at(z) + CAVITY_DEPTH.at(z) + 7.5
        angle = np.linspace(0, 2 * np.pi, 26)
        loops.append(np.stack([14 * np.cos(angle), y + 8 * np.sin(angle), np.full(26, z) + 2 * np.cos(angle)], axis=1))
    return *_with_radius(np.concatenate(loops), 1.2), "midline", "sternum"


def _stent(context: base.DrawContext, rng: np.random.Generator) -> Device:
    if rng.random() < 0.5:
        course = context.anatomy.heart.coronaries()["left anterior descending"]
        return *_with_radius(course[6:15], 1.9), "midline", "left anterior descending artery"
    course, radii = context.anatomy.vessels.aorta()
    top = int(course[:, 2].argmax())
    rings = []
    for index in range(top + 4, top + 34, 2):
        angle = np.linspace(0, 2 * np.pi, 30)
        tangent = course[index + 1] - course[index - 1]
        first = np.cross(tangent, [0.93, 0.31, 0.17])
        first /= np.linalg.norm(first)
        second = np.cross(tangent / np.linalg.norm(tangent), first)
        rings.append(course[index] + radii[index] * (np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second))
    return *_with_radius(np.concatenate(rings), 0.9), "midline", "descending aorta"


def _clips(context: base.DrawContext, rng: np.random.Generator) -> Device:
    points = context.anatomy.points
    row = int(rng.choice(np.flatnonzero((points.depth > 6) & (points.depth < 22))))
    centre = points.position[row]
    clips = centre + rng.normal(0, 8, (int(rng.integers(4, 10)), 1, 3))
    strokes = clips + rng.normal(0, 1.5, (len(clips), 1, 3)) * np.linspace(-1, 1, 4)[None, :, None]
    lobe = int(points.lobe[row])
    return *_with_radius(strokes.reshape(-1, 3), 1.5), base.lobe_side(lobe), base.lobe_name(lobe)


def _central_line(_: base.DrawContext, rng: np.random.Generator) -> Device:
    line = spline([(40, 4, 150), (38, 2, 108), (32, 10, 70), (26, 16, 42), (28, 11, rng.uniform(-25, 10))])
    return *_with_radius(line, 1.5), "right", "superior vena cava"


def _feeding_tube(_: base.DrawContext, __: np.random.Generator) -> Device:
    line = spline([(-2, -10, 170), (-4, -24, 100), (-3, -34, 40), (-3, -33, -10), (-6, -30, -80), (-30, 0, -140)])
    return *_with_radius(line, 1.7), "midline", "oesophagus"


def _spinal_hardware(_: base.DrawContext, rng: np.random.Generator) -> Device:
    levels = -88 + 24 * np.arange(int(rng.integers(2, 5))) - 4
    screws = [
        np.stack([np.full(16, side * 11.0), np.linspace(-86, -44, 16), np.full(16, z)], axis=1)
        for z in levels
        for side in (-1.0, 1.0)
    ]
    rods = [
        np.stack([np.full(30, s * 12.0), np.full(30, -88.0), np.linspace(levels[0] - 4, levels[-1] + 4, 30)], axis=1)
        for s in (-1.0, 1.0)
    ]
    return *_with_radius(np.concatenate([*screws, *rods]), 2.2), "midline", "thoracic spine"


_DEVICES: dict[str, tuple[Callable[[base.DrawContext, np.random.Generator], Device], float]] = {
    "pacemaker": (_pacemaker, 0.2),
    "port catheter": (_port, 0.16),
    "sternal wires": (_sternal_wires, 0.2),
    "stent": (_stent, 0.12),
    "surgical clips": (_clips, 0.1),
    "central venous catheter": (_central_line, 0.1),
    "feeding tube": (_feeding_tube, 0.06),
    "spinal hardware": (_spinal_hardware, 0.06),
}


class MedicalMaterial(base.LesionModel):
    """One device made of metal (1500 to 3000 HU) or radio-opaque plastic."""

    finding = base.MEDICAL_MATERIAL

    def __init__(self, context: base.DrawContext) -> None:
        """Draw a device and its place."""
        rng = context.rng("material")
        names = list(_DEVICES)
        kind = str(rng.choice(names, p=[_DEVICES[name][1] for name in names]))
        self.points, self.radii, side, location = _DEVICES[kind][0](context, rng)
        self.hu = float(rng.uniform(1900, 3000))
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location=location,
            kind=kind,
            severity="mild",
            size_mm=round(2 * float(self.radii.max()), 1),
            count=1,
            centroid_ras=context.world(self.points[: max(1, len(self.points) // 2)].mean(axis=0)),
        )

    def paint(self, scene: Scene) -> None:
        """Paint the metal."""
        splat = scene.splat(self.points, self.radii)
        scene.paint(splat.box, splat.occupied, self.hu)
        scene.mark_soft(splat, self.finding)
