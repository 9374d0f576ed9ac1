"""The skeleton: vertebrae with discs and processes, ribs, sternum, clavicles and scapulae."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.body import paint_bone
from colipri_training.phantoms.anatomy.thorax import CAVITY_DEPTH
from colipri_training.phantoms.anatomy.thorax import CAVITY_WIDTH
from colipri_training.phantoms.anatomy.thorax import CAVITY_Y
from colipri_training.phantoms.anatomy.thorax import SPINE_Y
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.scene import Scene

LEVEL_MM = 24.0
_FIRST_RIB_Z = 100.0
_RIBS = 12
_UP = np.array([0.0, 0.0, 1.0])


def paint_spine(scene: Scene) -> None:
    """Paint the vertebral column: bodies, discs, canal, arches and processes; repeats every 24 mm."""
    patient = scene.patient
    low, high = scene.patient.coverage
    box = scene.box((-42, -122, low - 40), (42, -30, high + 40))
    x, y, z = scene.coordinates(box)
    phase = torch.remainder(z + 4.0, LEVEL_MM) - LEVEL_MM / 2
    waist = 1 - 0.10 * (1 - (phase / 12).square())
    width = (15.5 - 0.018 * z) * waist
    radial = (x.square() + ((y - SPINE_Y) / 0.86).square()).sqrt()
    column = width - radial
    disc = phase.abs() - 9.6
    scene.paint_depth(box, torch.minimum(column, disc), 85.0, structures.SPINE)
    vertebra = torch.minimum(column, -disc)
    texture = scene.noise("bone", 9.0, box)
    scene.paint_depth(box, vertebra, 1.9 * patient.bone_hu + 160, structures.SPINE)
    scene.paint_depth(box, vertebra - 1.7, patient.bone_hu + 22 * texture)
    _paint_arch(scene, box, phase)


def _paint_arch(scene: Scene, box: tuple[slice, slice, slice], phase: Tensor) -> None:
    """Paint the canal with its cord, the lamina around it, and the spinous and transverse processes."""
    x, y, _ = scene.coordinates(box)
    canal_y = SPINE_Y - 22.5
    radius = (x.square() + (y - canal_y).square()).sqrt()
    lamina = torch.minimum(13.0 - radius, 8.5 - phase.abs())
    spinous = torch.minimum(torch.minimum(3.6 - x.abs(), canal_y - y), y + 102 - 0.4 * phase)
    spinous = torch.minimum(spinous, 7.5 - (phase + 2).abs())
    arm = y - (SPINE_Y - 20) + 0.30 * x.abs()
    transverse = torch.minimum(torch.minimum(4.5 - arm.abs(), 31 - x.abs()), 5.0 - phase.abs())
    bone = torch.maximum(torch.maximum(lamina, spinous), transverse)
    scene.paint_depth(box, bone, 2.3 * scene.patient.bone_hu + 60, structures.SPINE)
    canal = occupancy(9.0 - radius, scene.edge)
    scene.paint(box, canal, 18.0)
    scene.paint_depth(box, 4.5 - radius, 38.0)
    scene.labels[box][canal > 0.5] = structures.BODY


def rib_course(index: int, side: float, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the canonical course (N, 3) of rib `index` (0 to 11) and the angle (N,) from back to front."""
    start = _FIRST_RIB_Z - LEVEL_MM * index * 0.92
    reach = 172.0 if index < 7 else 172.0 - 18.0 * (index - 6)
    angle = np.radians(np.linspace(14, max(reach, 55.0), 90))
    drop = slope * (26 + 8.0 * min(index, 8)) * (1 - np.cos(angle)) / 2
    z = start - drop
    heights = torch.from_numpy(z).float()
    width = CAVITY_WIDTH(heights).numpy() + 5
    depth = CAVITY_DEPTH(heights).numpy() + 5
    u, v = np.sin(angle), -np.cos(angle)
    norm = 0.5 * (np.hypot(u / width, v / depth) + ((u / width) ** 4 + (v / depth) ** 4) ** 0.25)
    y = CAVITY_Y(heights).numpy() + v / norm
    return np.stack([side * u / norm, y, z], axis=1), angle


def paint_ribs(scene: Scene) -> None:
    """Paint twelve pairs of ribs that slope down to the front, the upper ones ending in cartilage."""
    rng = stream(scene.patient.seed, "ribs")
    slope = rng.uniform(0.75, 1.2)
    courses, fronts = [], []
    for index in range(_RIBS):
        for side in (-1.0, 1.0):
            course, angle = rib_course(index, side, slope)
            bony = angle < np.radians(138 + 2 * index)
            courses.append(course[bony])
            fronts.append(course[~bony])
    bone = np.concatenate(courses)
    both = np.concatenate([bone + _UP * 2.2, bone - _UP * 2.2])
    cartilage = np.concatenate(fronts)
    soft = scene.splat(np.concatenate([cartilage + _UP * 2.5, cartilage - _UP * 2.5]), 4.2)
    scene.paint(soft.box, soft.occupied, 95.0 + max(0.0, scene.patient.age - 55) * 3, structures.BONES)
    paint_bone(scene, both, 3.7, marrow=scene.patient.bone_hu + 40)


def paint_front(scene: Scene) -> None:
    """Paint the sternum and the clavicles."""
    z = np.linspace(44, -62, 54)
    heights = torch.from_numpy(z).float()
    y = (CAVITY_Y(heights) + CAVITY_DEPTH(heights)).numpy() + 7.5
    half = np.where(z > 22, 15.0, 10.0)
    rows = [np.stack([half * share, y, z], axis=1) for share in (-0.9, -0.45, 0.0, 0.45, 0.9)]
    paint_bone(scene, np.concatenate(rows), 5.0, marrow=scene.patient.bone_hu * 0.7)
    share = np.linspace(0, 1, 60)
    lift = 0.0 if not scene.patient.arms_up else 18.0
    for side in (-1.0, 1.0):
        x = side * (16 + 118 * share)
        course = np.stack([x, y[0] - 4 - 62 * share + 12 * np.sin(share * 6), 52 + (34 + lift) * share], axis=1)
        paint_bone(scene, course, 5.6, marrow=scene.patient.bone_hu + 30)


def paint_scapulae(scene: Scene) -> None:
    """Paint the shoulder blades: thin triangular plates behind the ribs, with spine and glenoid."""
    rng = stream(scene.patient.seed, "scapulae")
    out = rng.uniform(0, 10) + (12 if scene.patient.arms_up else 0)
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, 22), np.linspace(0, 1, 40)))
    for side in (-1.0, 1.0):
        medial, lateral = 72 + out * v, 78 + out * v + 60 * (1 - v)
        x = medial + (lateral - medial) * u
        z = 84 - 128 * v
        y = -88 + 0.004 * (x - 70) ** 1.9 * 2 + 8 * (1 - v) + 20 * u * (1 - v)
        plate = np.stack([side * x, y, z], axis=1)
        paint_bone(scene, plate, 2.6, marrow=scene.patient.bone_hu + 150)
        ridge = np.stack([side * (76 + 70 * u[:22]), -98 + 22 * u[:22], 66 + 14 * u[:22]], axis=1)
        paint_bone(scene, ridge, 5.5, marrow=scene.patient.bone_hu)
