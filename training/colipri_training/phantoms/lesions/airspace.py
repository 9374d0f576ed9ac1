"""Airspace disease: lung opacity (ground glass), consolidation and atelectasis."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.lungs import lung_share
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.fields import occupancy
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Scene

_LOWER = (structures.LEFT_LOWER_LOBE, structures.RIGHT_LOWER_LOBE)


def draw_blobs(
    context: base.DrawContext, rng: np.random.Generator, where: np.ndarray, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Place balls at free lung points; returns centres (N, 3), radii (N,) and the lobe of each (at least one ball)."""
    points, rows, kept = context.anatomy.points, [], []
    for radius in radii:
        row = context.pick(rng, where, float(radius) * 0.6)
        if row is not None:
            rows.append(row)
            kept.append(radius)
    if not rows:
        rows, kept = [int(rng.choice(np.flatnonzero(points.depth > 8)))], [float(radii.min())]
    return points.position[rows], np.asarray(kept), [int(points.lobe[row]) for row in rows]


class LungOpacity(base.LesionModel):
    """Patches of ground glass: hazy, between -680 and -380 HU, vessels still visible."""

    finding = base.LUNG_OPACITY

    def __init__(self, context: base.DrawContext) -> None:
        """Draw one to six patches, focal, scattered or along the pleura."""
        rng = context.rng("opacity")
        points = context.anatomy.points
        kind = str(rng.choice(["focal", "patchy", "peripheral"], p=[0.3, 0.4, 0.3]))
        count = 1 if kind == "focal" else int(rng.integers(2, 7))
        where = points.depth > 6
        if kind == "peripheral":
            where = (points.wall < 24) & (points.wall > 6)
        radii = rng.uniform(14, 34 if kind != "focal" else 42, count)
        self.centres, self.radii, lobes = draw_blobs(context, rng, where, radii)
        self.added = float(rng.uniform(210, 400))
        side, location = base.lobes_place(lobes)
        share = float((self.radii**3).sum() / 34**3 / 3)
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location=location,
            kind=kind,
            severity=base.severity_of(share),
            size_mm=round(2 * float(self.radii.max()), 1),
            count=len(self.radii),
            centroid_ras=context.world(self.centres.mean(axis=0)),
        )

    def parenchyma(self, scene: Scene) -> None:
        """Raise the density of the parenchyma inside ragged, soft-edged balls."""
        for centre, radius in zip(self.centres, self.radii, strict=True):
            box = scene.ball_box(centre, radius * 1.4)
            haze = occupancy(ragged_depth(scene, box, centre, radius), scene.edge + 7)
            share = lung_share(scene, box)
            scene.hu[box].add_(haze * share * self.added)
            scene.mark(box, (haze * share) > 0.45, self.finding)


def ragged_depth(scene: Scene, box: tuple[slice, slice, slice], centre: np.ndarray, radius: float) -> Tensor:
    """Return the depth inside a ball whose surface is ruffled by noise to about a fifth of its radius."""
    x, y, z = scene.coordinates(box)
    cx, cy, cz = (float(v) for v in centre)
    distance = ((x - cx).square() + (y - cy).square() + (z - cz).square()).sqrt()
    return radius + 0.2 * radius * scene.noise("ragged", 16.0, box) - distance


class Consolidation(base.LesionModel):
    """Airless lung of 20 to 60 HU, bounded by fissures, in which air-filled bronchi stay visible."""

    finding = base.CONSOLIDATION

    def __init__(self, context: base.DrawContext) -> None:
        """Draw a lobar, segmental or multifocal consolidation."""
        rng = context.rng("consolidation")
        points = context.anatomy.points
        kind = str(rng.choice(["lobar", "segmental", "multifocal"], p=[0.2, 0.5, 0.3]))
        radii = {
            "lobar": rng.uniform(46, 62, 1),
            "segmental": rng.uniform(22, 36, 1),
            "multifocal": rng.uniform(14, 24, int(rng.integers(2, 5))),
        }[kind]
        where = (points.depth > 6) & (points.depth < 34)
        self.centres, self.radii, self.lobes = draw_blobs(context, rng, where, radii)
        self.hu = float(rng.uniform(22, 48)) + (35.0 if context.anatomy.patient.blood.phase != "unenhanced" else 0.0)
        self.bronchogram = bool(rng.random() < 0.75)
        self._bronchi = context.anatomy.trees.bronchi
        side, location = base.lobes_place(self.lobes)
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location=location,
            kind=kind,
            severity=base.severity_of(float((self.radii**3).sum() / 60**3)),
            size_mm=round(2 * float(self.radii.max()), 1),
            count=len(self.radii),
            centroid_ras=context.world(self.centres.mean(axis=0)),
        )

    def paint(self, scene: Scene) -> None:
        """Fill the balls where they share the lobe, then reopen the bronchi."""
        for centre, radius, lobe in zip(self.centres, self.radii, self.lobes, strict=True):
            box = scene.ball_box(centre, radius * 1.4)
            dense = occupancy(ragged_depth(scene, box, centre, radius), scene.edge + 3)
            dense = dense * lung_share(scene, box) * (scene.lobes[box] == lobe)
            scene.paint(box, dense, self.hu + 8 * scene.noise("bone", 9.0, box))
            scene.mark(box, dense > 0.45, self.finding)
        if self.bronchogram:
            self._reopen(scene)

    def _reopen(self, scene: Scene) -> None:
        tree = self._bronchi
        middle = (tree.start + tree.end) / 2
        near = (np.linalg.norm(middle[:, None] - self.centres[None], axis=2) < self.radii[None]).any(axis=1)
        if not near.any():
            return
        part = tree.select(np.flatnonzero(near))
        points, radius = part.sample(min(2.0, 0.5 * scene.edge), part.radii(1.25, 0.35))
        air = scene.splat(points, radius)
        inside = (scene.lesions[air.box] & (1 << self.finding)) != 0
        scene.paint(air.box, air.occupied * inside, -930.0)


class Atelectasis(base.LesionModel):
    """Collapse: plate-like bands at the bases, or a dense dependent part of a lower lobe with volume loss."""

    finding = base.ATELECTASIS

    def __init__(self, context: base.DrawContext) -> None:
        """Draw bands, or a collapse where the patient was drawn with a raised dome."""
        rng = context.rng("atelectasis")
        self.kind = "segmental" if context.collapse_side else "band"
        self.hu = float(rng.uniform(35, 60)) + (45.0 if context.anatomy.patient.blood.phase != "unenhanced" else 0.0)
        if self.kind == "band":
            self._draw_bands(context, rng)
        else:
            self._draw_collapse(context, rng)
        side, location = base.lobes_place(self.lobes)
        share = len(self.radii) / 5 if self.kind == "band" else float((self.radii[0] - 20) / 28)
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location=location,
            kind=self.kind,
            severity=base.severity_of(share),
            size_mm=round(2 * float(self.radii.max()), 1),
            count=len(self.radii),
            centroid_ras=context.world(self.centres.mean(axis=0)),
        )

    def _draw_bands(self, context: base.DrawContext, rng: np.random.Generator) -> None:
        points = context.anatomy.points
        base_of_lungs = (points.position[:, 2] < -50) & (points.depth > 8) & (points.depth < 28)
        radii = rng.uniform(16, 34, int(rng.integers(1, 5)))
        self.centres, self.radii, self.lobes = draw_blobs(context, rng, base_of_lungs, radii)
        self.normals = rng.normal(0, 0.28, self.centres.shape) + np.array([0, 0, 1])
        self.normals /= np.linalg.norm(self.normals, axis=1, keepdims=True)
        self.half = rng.uniform(1.4, 3.2, len(self.radii))

    def _draw_collapse(self, context: base.DrawContext, rng: np.random.Generator) -> None:
        points = context.anatomy.points
        lobe = _LOWER[0] if context.collapse_side == "left" else _LOWER[1]
        medial_back = (points.lobe == lobe) & (np.abs(points.position[:, 0]) < 75) & (points.position[:, 2] < -55)
        radii = rng.uniform(24, 46, 1)
        self.centres, self.radii, self.lobes = draw_blobs(context, rng, medial_back & (points.depth < 20), radii)

    def paint(self, scene: Scene) -> None:
        """Paint the bands or the collapsed part."""
        for index, (centre, radius) in enumerate(zip(self.centres, self.radii, strict=True)):
            box = scene.ball_box(centre, radius * 1.2)
            share = lung_share(scene, box) * (scene.lobes[box] == self.lobes[index])
            if self.kind == "band":
                dense = self._band(scene, box, index) * share
            else:
                dense = occupancy(self._wedge(scene, box, centre, radius), scene.edge + 1) * share
            scene.paint(box, dense, self.hu)
            scene.mark(box, dense > 0.3 * max(0.05, float(dense.max()) if dense.numel() else 0.0), self.finding)

    def _wedge(self, scene: Scene, box: tuple[slice, slice, slice], centre: np.ndarray, radius: float) -> Tensor:
        """Return the depth inside a smooth wedge, longer along z than across."""
        x, y, z = scene.coordinates(box)
        cx, cy, cz = (float(v) for v in centre)
        return radius - ((x - cx).square() * 1.6 + (y - cy).square() * 1.3 + 0.7 * (z - cz).square()).sqrt()

    def _band(self, scene: Scene, box: tuple[slice, slice, slice], index: int) -> Tensor:
        """Return the occupancy of a slightly wavy disc."""
        x, y, z = scene.coordinates(box)
        offset = [axis - float(c) for axis, c in zip((x, y, z), self.centres[index], strict=True)]
        nx, ny, nz = self.normals[index].tolist()
        height = offset[0] * nx + offset[1] * ny + offset[2] * nz + 1.5 * scene.noise("ragged", 16.0, box)
        flat = (offset[0].square() + offset[1].square() + offset[2].square() - height.square()).clamp(min=0).sqrt()
        rim = occupancy(float(self.radii[index]) - flat, scene.edge)
        return rim * sheet_share(height.abs(), float(self.half[index]), scene.edge)


def sheet_share(distance: Tensor, half_mm: float, edge: float) -> Tensor:
    """Return the occupancy of a sheet from the distance to its middle; thin sheets fade by partial volume."""
    shown = max(half_mm, 0.5 * edge)
    return occupancy(shown - distance, edge) * min(1.0, half_mm / shown)


def ridge_distance(field: Tensor, cell_mm: float) -> Tensor:
    """Return about how far (mm) each voxel lies from the zero surface of a unit-variance noise field."""
    return torch.abs(field) * (cell_mm / 1.3)
