"""The body wall: skin, fat, muscle, breasts and arms, and the table under the patient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.thorax import Thorax
from colipri_training.phantoms.fields import ellipsoid_depth
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.scene import Box
from colipri_training.phantoms.scene import Scene

_ALL = (slice(None), slice(None), slice(None))
_SKIN_MM = 2.0


def paint_body(scene: Scene, thorax: Thorax) -> None:
    """Paint everything from the skin to the pleura and peritoneum; the cavities are left filled with fat."""
    patient = scene.patient
    x, y, z = scene.coordinates(_ALL)
    muscle = thorax.trunk(x, y, z)
    skin = muscle + _fat_mm(scene, x, y, z)
    for side in (-1.0, 1.0) if patient.breast_mm else ():
        skin = torch.maximum(skin, _breast(scene, side, x, y, z))
    scene.paint_depth(_ALL, skin, 10.0, structures.BODY)
    streaks = scene.noise("fat", 24.0, _ALL)
    scene.paint_depth(_ALL, skin - _SKIN_MM, streaks.mul(7).add_(patient.fat_hu))
    _paint_muscle(scene, thorax, muscle, streaks)


def _paint_muscle(scene: Scene, thorax: Thorax, muscle: Tensor, streaks: Tensor) -> None:
    """Paint the muscle shell between the subcutaneous fat and the cavity, with fatty planes between muscles."""
    x, y, z = scene.coordinates(_ALL)
    cavity = thorax.cavity(x, y, z)
    planes = scene.noise("muscle planes", 30.0, _ALL)
    depth = muscle - 3.0 * streaks.clamp_(min=0)
    shell = occupancy(torch.minimum(depth, 3.0 - cavity), scene.edge)
    leanness = (planes.abs_() * 6).clamp_(max=1)
    value = scene.patient.fat_hu + (scene.patient.muscle_hu - scene.patient.fat_hu) * leanness
    scene.paint(_ALL, shell, value)


def _fat_mm(scene: Scene, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Return the subcutaneous fat thickness: more in front and low, individual in places."""
    rng = stream(scene.patient.seed, "fat share")
    front, low = rng.uniform(0.1, 0.5), rng.uniform(0.0, 0.5)
    height = 1 + low * ((-40 - z) / 120).clamp(-0.4, 1.0)
    return scene.patient.fat_mm * (height + front * (y / 100).clamp(-0.5, 1.0)) + 0.03 * x.abs().clamp(max=60)


def _breast(scene: Scene, side: float, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    size = scene.patient.breast_mm
    offset = (x - side * (78 + 0.2 * size), y - 84, z + 42)
    return ellipsoid_depth(offset, (52 + 0.3 * size, 12 + size, 48 + 0.3 * size))


def paint_glands(scene: Scene) -> None:
    """Paint glandular tissue inside the breasts of about two thirds of the women."""
    patient = scene.patient
    rng = stream(patient.seed, "glands")
    if not patient.breast_mm or rng.random() > 0.66:
        return
    for side in (-1.0, 1.0):
        centre = np.array([side * (82 + 0.2 * patient.breast_mm), 92.0 + 0.35 * patient.breast_mm, -44.0])
        reach = 14 + 0.3 * patient.breast_mm
        points = centre + rng.normal(0, 0.45, (40, 3)) * reach * np.array([1.1, 0.5, 1.0])
        splat = scene.splat(points, rng.uniform(2, 6, 40))
        inside = scene.labels[splat.box] == structures.BODY
        scene.paint(splat.box, splat.occupied * inside * 0.8, 30.0)


def paint_arms(scene: Scene) -> None:
    """Paint upper arms with their humerus: beside the trunk, or raised beside the head."""
    patient = scene.patient
    rng = stream(patient.seed, "arms")
    thickness = 34 + 0.8 * patient.fat_mm
    for side in (-1.0, 1.0):
        shoulder = np.array([side * 158.0, -18.0, 88.0])
        elbow = np.array([side * 196, -30, -210]) if not patient.arms_up else np.array([side * 150, 30, 330])
        elbow = elbow + rng.normal(0, 8, 3)
        box = scene.box(np.minimum(shoulder, elbow) - thickness, np.maximum(shoulder, elbow) + thickness)
        depth = -_axis_distance(scene, box, shoulder, elbow)
        free = (scene.hu[box] < -70) & (scene.labels[box] <= structures.BODY)
        for radius, value in ((thickness, patient.fat_hu), (thickness - 0.55 * patient.fat_mm - 3, patient.muscle_hu)):
            scene.paint(box, occupancy(depth + radius, scene.edge) * free, value, structures.BODY)
        course = shoulder + (elbow - shoulder) * np.linspace(0, 1, 60)[:, None]
        paint_bone(scene, course[2:], 10.5, marrow=40.0)
        paint_bone(scene, course[:3], 21.0, marrow=patient.bone_hu)


def _axis_distance(scene: Scene, box: Box, start: np.ndarray, end: np.ndarray) -> Tensor:
    """Return the distance of the voxels of a box to the segment from `start` to `end`."""
    axis = (end - start).tolist()
    offset = [part - float(first) for part, first in zip(scene.coordinates(box), start, strict=True)]
    along = sum((part * step for part, step in zip(offset, axis, strict=True)), start=torch.zeros(()))
    share = (along / float(np.dot(end - start, end - start))).clamp(0, 1)
    return sum(
        ((part - share * step).square() for part, step in zip(offset, axis, strict=True)), start=torch.zeros(())
    ).sqrt()


def paint_bone(scene: Scene, course: np.ndarray, radius: float | np.ndarray, *, marrow: float) -> None:
    """Paint a bone along a course: a cortical shell of about 2 mm around marrow."""
    shell = scene.splat(course, radius)
    scene.paint(shell.box, shell.occupied, 1.8 * scene.patient.bone_hu + 120, structures.BONES)
    core = scene.splat(course, np.maximum(np.asarray(radius) - 2.2, 0.8))
    scene.paint(core.box, core.occupied, marrow)


def paint_table(scene: Scene) -> None:
    """Paint the curved table top under most patients, in the air only."""
    rng = stream(scene.patient.seed, "table")
    if rng.random() > 0.8:
        return
    patient = scene.patient
    x, y, _ = scene.grid.axes
    back = (
        patient.pose.shift[1] - (108 + patient.muscle_mm + patient.fat_mm) * patient.pose.scale[1] - rng.uniform(2, 14)
    )
    surface = back + (x / 190).square() * rng.uniform(0, 55)
    distance = (y[None, :] - surface[:, None]).to(scene.device)
    plate = occupancy(3.0 - (distance + 4).abs(), scene.grid.edge_mm)
    foam = occupancy(12.0 - (distance + 16).abs(), scene.grid.edge_mm)
    inside = (x.abs() < 215).to(scene.device)[:, None, None] & (scene.labels == structures.BACKGROUND)
    value = torch.maximum(plate * rng.uniform(150, 700), foam * rng.uniform(20, 120))
    scene.hu.add_(value[:, :, None] * inside)
