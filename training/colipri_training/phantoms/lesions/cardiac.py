"""Findings of heart and great arteries: cardiomegaly, pericardial effusion, calcified coronary and aortic walls."""

from __future__ import annotations

import numpy as np

from colipri_training.phantoms import structures
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Scene


class Cardiomegaly(base.LesionModel):
    """An enlarged heart; the anatomy is drawn with it, this only marks and describes."""

    finding = base.CARDIOMEGALY

    def __init__(self, context: base.DrawContext) -> None:
        """Describe the drawn cardiothoracic ratio; `size_mm` is the width of the heart."""
        patient, heart = context.anatomy.patient, context.anatomy.heart
        self.lesion = Lesion(
            finding=self.finding,
            side="midline",
            location="heart",
            kind=f"cardiothoracic ratio {patient.heart_ratio:.2f}",
            severity=base.severity_of((patient.heart_ratio - 0.57) / 0.13),
            size_mm=round(patient.heart_ratio * 262.0 * patient.pose.scale[0], 1),
            count=1,
            centroid_ras=context.world(heart.centre),
        )

    def paint(self, scene: Scene) -> None:
        """Mark the whole heart."""
        everything = (slice(None), slice(None), slice(None))
        scene.mark(everything, scene.labels == structures.HEART, self.finding)


class PericardialEffusion(base.LesionModel):
    """Fluid between heart and pericardium; painted with the heart, described here."""

    finding = base.PERICARDIAL_EFFUSION

    def __init__(self, context: base.DrawContext) -> None:
        """Describe the drawn thickness."""
        patient, heart = context.anatomy.patient, context.anatomy.heart
        self.lesion = Lesion(
            finding=self.finding,
            side="midline",
            location="pericardium",
            kind="fluid",
            severity=base.severity_of((patient.sac_mm - 7) / 15),
            size_mm=round(patient.sac_mm, 1),
            count=1,
            centroid_ras=context.world(heart.centre - np.array([0.0, 0.0, 35.0])),
        )


class CoronaryCalcification(base.LesionModel):
    """Bright foci along one to three coronary courses."""

    finding = base.CORONARY_CALCIFICATION

    def __init__(self, context: base.DrawContext) -> None:
        """Draw foci of 1.8 to 3.0 mm radius and 500 to 1300 HU on the epicardial surface."""
        rng = context.rng("coronary")
        courses = context.anatomy.heart.coronaries()
        names = list(courses)
        count = int(rng.integers(1, 4))
        picked = (
            [names[0], *rng.choice(names[1:], size=count - 1, replace=False)]
            if rng.random() < 0.8
            else [str(name) for name in rng.choice(names, size=count, replace=False)]
        )
        points = []
        for name in picked:
            course = courses[str(name)]
            for start in rng.integers(2, 28, size=int(rng.integers(1, 5))):
                points.append(course[start : start + int(rng.integers(1, 7))])
        self.points = np.concatenate(points)
        self.radii = rng.uniform(1.8, 3.0, len(self.points))
        self.hu = float(rng.uniform(600, 1300))
        self.lesion = Lesion(
            finding=self.finding,
            side="midline",
            location=" and ".join(sorted({str(name) for name in picked})) + " artery",
            kind="plaque",
            severity=base.severity_of(len(self.points) / 30),
            size_mm=round(2 * float(self.radii.max()), 1),
            count=len(points),
            centroid_ras=context.world(self.points.mean(axis=0)),
        )

    def paint(self, scene: Scene) -> None:
        """Paint the foci."""
        splat = scene.splat(self.points, self.radii)
        scene.paint(splat.box, splat.occupied, self.hu)
        scene.mark_soft(splat, self.finding)


class ArterialCalcification(base.LesionModel):
    """Plaques in the wall of the aorta: arch, descending, sometimes ascending."""

    finding = base.ARTERIAL_CALCIFICATION

    def __init__(self, context: base.DrawContext) -> None:
        """Draw 3 to 16 plaques, each an arc of the wall."""
        rng = context.rng("aorta")
        course, radii = context.anatomy.vessels.aorta()
        top = int(course[:, 2].argmax())
        low_z = max(context.anatomy.patient.coverage[0], -210.0)
        bottom = int(np.flatnonzero(course[:, 2] > low_z)[-1])
        anchors = {"aortic arch": (top - 5, top + 9), "descending aorta": (top + 10, max(bottom, top + 14))}
        place = str(rng.choice(["aortic arch", "descending aorta", "both"], p=[0.35, 0.2, 0.45]))
        ranges = list(anchors.values()) if place == "both" else [anchors[place]]
        points = [self._plaque(rng, course, radii, ranges[i % len(ranges)]) for i in range(int(rng.integers(3, 17)))]
        self.points = np.concatenate(points)
        self.radii = rng.uniform(1.3, 2.4, len(self.points))
        self.hu = float(rng.uniform(550, 1200))
        self.lesion = Lesion(
            finding=self.finding,
            side="midline",
            location="aortic arch and descending aorta" if place == "both" else place,
            kind="plaque",
            severity=base.severity_of((len(points) - 3) / 13),
            size_mm=round(2 * float(self.radii.max()), 1),
            count=len(points),
            centroid_ras=context.world(points[0].mean(axis=0)),
        )

    @staticmethod
    def _plaque(rng: np.random.Generator, course: np.ndarray, radii: np.ndarray, span: tuple[int, int]) -> np.ndarray:
        """Return the points of one plaque: an arc of the circle around the course, over a few mm of its length."""
        middle = int(rng.integers(*span))
        arc = rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(0.3, 1.3), 5)
        length = int(rng.integers(1, 4))
        points = []
        for index in range(middle, min(middle + length, len(course) - 1)):
            tangent = course[index + 1] - course[index - 1]
            first = np.cross(tangent, [0.31, 0.17, 0.93] if abs(tangent[2]) < 3 else [0.93, 0.31, 0.17])
            first /= np.linalg.norm(first)
            second = np.cross(tangent / np.linalg.norm(tangent), first)
            ring = np.cos(arc)[:, None] * first + np.sin(arc)[:, None] * second
            points.append(course[index] + ring * radii[index])
        return np.concatenate(points)

    def paint(self, scene: Scene) -> None:
        """Paint the plaques."""
        splat = scene.splat(self.points, self.radii)
        scene.paint(splat.box, splat.occupied, self.hu)
        scene.mark_soft(splat, self.finding)
