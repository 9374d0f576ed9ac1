"""Nodules in the lung and enlarged lymph nodes in mediastinum, hila and axillae."""

from __future__ import annotations

import numpy as np

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.lungs import lung_share
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Scene

_VALUES = {"solid": (20.0, 60.0), "ground-glass": (-640.0, -480.0), "calcified": (280.0, 700.0)}

# Stations: canonical centre, spread along each axis, word for the place, side.
_STATIONS = (
    ((20, 2, 22), (3, 4, 12), "right paratracheal", "right"),
    ((-4, 34, 28), (9, 5, 8), "prevascular", "midline"),
    ((-30, -6, 8), (3, 4, 5), "aortopulmonary window", "left"),
    ((4, -22, -20), (7, 4, 6), "subcarinal", "midline"),
    ((44, -8, -14), (4, 6, 8), "right hilar", "right"),
    ((-46, -12, -12), (4, 6, 8), "left hilar", "left"),
    ((122, 4, 58), (7, 10, 10), "right axillary", "right"),
    ((-122, 4, 58), (7, 10, 10), "left axillary", "left"),
)


class LungNodules(base.LesionModel):
    """One to five round nodules of 5 to 30 mm: solid, ground-glass or (rarely) calcified, some spiculated."""

    finding = base.LUNG_NODULE

    def __init__(self, context: base.DrawContext) -> None:
        """Draw nodules of one kind at free places at least their radius away from the border of the lung."""
        rng = context.rng("nodules")
        points = context.anatomy.points
        self.kind = str(rng.choice(list(_VALUES), p=[0.68, 0.20, 0.12]))
        count = 1 if rng.random() < 0.5 else int(rng.integers(2, 6))
        sizes = np.clip(rng.gamma(3.0, 4.0, count) + (7.0 if self.kind == "ground-glass" else 5.0), 5, 30)
        if self.kind == "calcified":
            sizes = np.clip(sizes, 5, 12)
        rows, self.diameters = self._place(context, rng, sizes)
        self.centres = points.position[rows]
        self.hu = float(rng.uniform(*_VALUES[self.kind]))
        self.spiculated = bool(self.kind == "solid" and self.diameters.max() > 11 and rng.random() < 0.45)
        self._rng = rng
        self._spikes = self._draw_spikes(rng)
        side, location = base.lobes_place([int(points.lobe[row]) for row in rows])
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location=location,
            kind="spiculated" if self.spiculated else self.kind,
            severity=base.severity_of((float(self.diameters.max()) - 5) / 20),
            size_mm=round(float(self.diameters.max()), 1),
            count=len(rows),
            centroid_ras=context.world(self.centres[int(self.diameters.argmax())]),
        )

    @staticmethod
    def _place(context: base.DrawContext, rng: np.random.Generator, sizes: np.ndarray) -> tuple[list[int], np.ndarray]:
        points, rows, kept = context.anatomy.points, [], []
        for size in sorted(sizes, reverse=True):
            row = context.pick(rng, (points.depth > size / 2 + 1.5) & (points.wall < 60), size / 2 + 3)
            if row is not None:
                rows.append(row)
                kept.append(size)
        if not rows:
            rows, kept = [int(points.depth.argmax())], [8.0]
        return rows, np.asarray(kept)

    def _draw_spikes(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return points and radii of the fine strands around spiculated nodules."""
        if not self.spiculated:
            return np.zeros((0, 3)), np.zeros(0)
        directions = rng.normal(0, 1, (len(self.centres), 9, 1, 3))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        share = np.linspace(0.7, 1.7, 6)[None, None, :, None]
        strands = self.centres[:, None, None] + directions * share * self.diameters[:, None, None, None] / 2
        radii = np.broadcast_to(np.linspace(1.4, 0.6, 6), strands.shape[:3])
        return strands.reshape(-1, 3), radii.reshape(-1)

    def paint(self, scene: Scene) -> None:
        """Paint strands, then the nodules; ground glass keeps the vessels inside visible."""
        if self.spiculated:
            strands = scene.splat(*self._spikes)
            scene.paint(strands.box, strands.occupied * lung_share(scene, strands.box), 10.0)
        balls = scene.splat(*self._lumps())
        share = balls.occupied * lung_share(scene, balls.box, 2.0)
        if self.kind == "ground-glass":
            share = share * (scene.hu[balls.box] < self.hu)
        scene.paint(balls.box, share, self.hu)
        mask = scene.splat(self.centres, self.diameters / 2, exact=True)
        scene.mark_soft(mask, self.finding)

    def _lumps(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodules as balls with smaller lumps that make them lobulated."""
        wobble = np.array([[0.25, 0.1, 0.0], [-0.2, 0.2, 0.1], [0.0, -0.2, 0.25]])
        lumps = self.centres[:, None] + wobble[None] * self.diameters[:, None, None] / 2
        radii = np.repeat(self.diameters / 2 * 0.82, len(wobble))
        return (
            np.concatenate([self.centres, lumps.reshape(-1, 3)]),
            np.concatenate([self.diameters / 2, radii]),
        )


class Lymphadenopathy(base.LesionModel):
    """Two to eight lymph nodes with a short axis of 11 to 26 mm in one to three stations."""

    finding = base.LYMPHADENOPATHY

    def __init__(self, context: base.DrawContext) -> None:
        """Draw stations and nodes."""
        rng = context.rng("nodes")
        weights = np.array([1.6, 1.0, 1.2, 1.4, 1.0, 1.0, 0.7, 0.7])
        picked = sorted(
            rng.choice(len(_STATIONS), size=int(rng.integers(1, 4)), replace=False, p=weights / weights.sum())
        )
        centres, radii = [], []
        for station in picked:
            middle, spread, _, _ = _STATIONS[station]
            for _ in range(int(rng.integers(1, 4))):
                centres.append(np.asarray(middle) + rng.uniform(-1, 1, 3) * spread)
                radii.append(rng.uniform(5.8, 11.0))
        self.centres, self.radii = np.asarray(centres), np.asarray(radii)
        enhanced = context.anatomy.patient.blood.phase != "unenhanced"
        self.hu = float(rng.uniform(30, 48)) + (40.0 if enhanced else 0.0)
        sides = {_STATIONS[s][3] for s in picked}
        self.lesion = Lesion(
            finding=self.finding,
            side=sides.pop() if len(sides) == 1 else "bilateral",
            location=" and ".join(_STATIONS[s][2] for s in picked[:2]),
            kind="nodal",
            severity=base.severity_of((float(self.radii.max()) - 6) / 6),
            size_mm=round(2 * float(self.radii.max()), 1),
            count=len(radii),
            centroid_ras=context.world(self.centres[int(self.radii.argmax())]),
        )

    def paint(self, scene: Scene) -> None:
        """Paint the nodes over fat, lung and soft tissue, but not over airways, vessels, heart or bone."""
        stretched = np.concatenate([self.centres + np.array([0, 0, s]) for s in (-3.0, 0.0, 3.0)])
        splat = scene.splat(stretched, np.tile(self.radii, 3))
        kept = scene.labels[splat.box]
        solid = (structures.AIRWAYS, structures.SPINE, structures.HEART, structures.AORTA, structures.BONES)
        free = ~sum((kept == label for label in solid), start=kept < 0)
        scene.paint(splat.box, splat.occupied * free, self.hu, structures.BODY)
        scene.mark(splat.box, (splat.occupied * free) > 0.4, self.finding)
