"""Diffuse lung disease: emphysema, mosaic attenuation, fibrotic sequelae, thickened interlobular septa."""

from __future__ import annotations

import numpy as np
import torch

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy import lungs
from colipri_training.phantoms.anatomy.lungs import lung_share
from colipri_training.phantoms.anatomy.thorax import Thorax
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.lesions.airspace import ridge_distance
from colipri_training.phantoms.lesions.airspace import sheet_share
from colipri_training.phantoms.scene import Scene

_UPPER = (structures.LEFT_UPPER_LOBE, structures.RIGHT_UPPER_LOBE)


def _member(lobes: torch.Tensor, wanted: tuple[int, ...]) -> torch.Tensor:
    return torch.isin(lobes, torch.tensor(wanted, dtype=torch.uint8, device=lobes.device))


class Emphysema(base.LesionModel):
    """Lung lost to air: many small holes, subpleural cysts or bullae, and a lower density around them."""

    finding = base.EMPHYSEMA

    def __init__(self, context: base.DrawContext) -> None:
        """Draw the kind, the lobes and the holes."""
        rng = context.rng("emphysema")
        points = context.anatomy.points
        kind = str(rng.choice(["centrilobular", "paraseptal", "bullous", "panlobular"], p=[0.45, 0.2, 0.2, 0.15]))
        self.lobes = structures.LUNG_LOBES if kind == "panlobular" or rng.random() < 0.25 else _UPPER
        if kind == "panlobular":
            self.lobes = structures.LUNG_LOBES
        share = float(rng.uniform(0.1, 1.0))
        rows = np.flatnonzero(np.isin(points.lobe, self.lobes) & (points.depth > 3))
        edge_rows = rows[points.wall[rows] < 9]
        chosen = edge_rows if kind == "paraseptal" and len(edge_rows) > 20 else rows
        picked = rng.choice(chosen, size=min(int(160 + 520 * share), len(chosen)), replace=False)
        self.centres = points.position[picked]
        self.radii = rng.uniform(3.5, 6.0 + 4.5 * share, len(picked))
        self.bullae = self._draw_bullae(context, rng) if kind == "bullous" else (np.zeros((0, 3)), np.zeros(0))
        self.lost = float((40 if kind == "panlobular" else 5) + 25 * share)
        side, location = base.lobes_place(list(self.lobes))
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location="upper lobes" if self.lobes == _UPPER else location,
            kind=kind,
            severity=base.severity_of(share),
            size_mm=round(2 * float(max(self.radii.max(), self.bullae[1].max(initial=0))), 1),
            count=len(picked),
            centroid_ras=context.world(np.array([0.0, 0.0, 40.0 if self.lobes == _UPPER else -30.0])),
        )

    @staticmethod
    def _draw_bullae(context: base.DrawContext, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        points = context.anatomy.points
        high = (points.position[:, 2] > 25) & (points.wall < 22)
        centres, radii = [], []
        for radius in rng.uniform(13, 28, int(rng.integers(1, 5))):
            row = context.pick(rng, high, float(radius) * 0.8)
            if row is not None:
                centres.append(points.position[row])
                radii.append(radius)
        return np.reshape(centres, (-1, 3)), np.asarray(radii)

    def parenchyma(self, scene: Scene) -> None:
        """Lower the density of the lobes and punch the holes; mark the affected lobes."""
        box = scene.box(lungs.LOW, lungs.HIGH)
        inside = lung_share(scene, box) * _member(scene.lobes[box], self.lobes)
        scene.hu[box].sub_(inside * self.lost)
        scene.mark(box, inside > 0.5, self.finding)
        holes = scene.splat(self.centres, self.radii)
        scene.paint(holes.box, holes.occupied * lung_share(scene, holes.box), -975.0)

    def paint(self, scene: Scene) -> None:
        """Paint bullae with thin walls over the vessels they displace."""
        if len(self.bullae[1]):
            wall = scene.splat(self.bullae[0], self.bullae[1] + 1.0)
            share = lung_share(scene, wall.box)
            scene.paint(wall.box, wall.occupied * share * 0.7, -700.0)
            air = scene.splat(*self.bullae)
            scene.paint(air.box, air.occupied * lung_share(scene, air.box), -990.0)


class MosaicAttenuation(base.LesionModel):
    """A patchwork of two lung densities with sharp, lobular borders in both lungs."""

    finding = base.MOSAIC_ATTENUATION

    def __init__(self, context: base.DrawContext) -> None:
        """Draw the patch size and the contrast between the two densities."""
        rng = context.rng("mosaic")
        self.cell = float(rng.uniform(17, 26))
        self.contrast = float(rng.uniform(130, 230))
        self.lesion = Lesion(
            finding=self.finding,
            side="bilateral",
            location="both lungs",
            kind="mosaic",
            severity=base.severity_of((self.contrast - 130) / 100),
            size_mm=round(self.cell, 1),
            count=1,
            centroid_ras=context.world(np.array([0.0, 0.0, -30.0])),
        )

    def parenchyma(self, scene: Scene) -> None:
        """Add and subtract density patch by patch; mark both lungs."""
        box = scene.box(lungs.LOW, lungs.HIGH)
        patches = (scene.noise("mosaic", self.cell, box) * (self.cell / (1.3 * (scene.edge + 2)))).clamp_(-0.5, 0.5)
        inside = lung_share(scene, box)
        scene.hu[box].add_(inside * (patches + 0.18) * self.contrast)
        scene.mark(box, inside > 0.5, self.finding)


class SeptalThickening(base.LesionModel):
    """Thickened interlobular septa: a network of fine lines in the periphery, more at the bases."""

    finding = base.SEPTAL_THICKENING
    _CELL_MM = 15.0

    def __init__(self, context: base.DrawContext) -> None:
        """Draw thickness and extent."""
        rng = context.rng("septa")
        share = float(rng.uniform(0.1, 1.0))
        self.half = 0.55 + 0.55 * share
        self.reach = float(22 + 22 * share)
        self.top = float(rng.choice([-25.0, 20.0, 120.0], p=[0.5, 0.3, 0.2]))
        self._thorax: Thorax = context.anatomy.thorax
        self.lesion = Lesion(
            finding=self.finding,
            side="bilateral",
            location="lower lobes" if self.top < 0 else "both lungs",
            kind="smooth",
            severity=base.severity_of(share),
            size_mm=round(2 * self.half, 1),
            count=1,
            centroid_ras=context.world(np.array([0.0, -30.0, -75.0 if self.top < 0 else -30.0])),
        )

    def paint(self, scene: Scene) -> None:
        """Paint the network where the chest wall is near, and mark its lines."""
        high = lungs.HIGH.copy()
        high[2] = min(high[2], self.top)
        box = scene.box(lungs.LOW, high)
        x, y, z = scene.coordinates(box)
        wall = self._thorax.cavity(x, y, z)
        near = ((self.reach - wall) / 10).clamp(0, 1) * ((self.top - z) / 15).clamp(0, 1) * lung_share(scene, box)
        lines = torch.zeros_like(near)
        for name in ("septa 1", "septa 2"):
            distance = ridge_distance(scene.noise(name, self._CELL_MM, box), self._CELL_MM)
            lines = torch.maximum(lines, sheet_share(distance, self.half, scene.edge))
        lines *= near
        scene.paint(box, lines, 0.0)
        scene.mark(box, lines > 0.5 * float(lines.max()) if lines.numel() else lines > 1, self.finding)


class FibroticSequela(base.LesionModel):
    """Scars: strands from the pleura, fine subpleural reticulation, apical thickening."""

    finding = base.FIBROTIC_SEQUELA
    _CELL_MM = 7.5

    def __init__(self, context: base.DrawContext) -> None:
        """Draw the zone (apices or one base) and the strands."""
        rng = context.rng("fibrosis")
        self._thorax = context.anatomy.thorax
        points = context.anatomy.points
        self.zone = str(rng.choice(["apical", "basal", "focal"], p=[0.5, 0.25, 0.25]))
        x, z = points.position[:, 0], points.position[:, 2]
        side = str(rng.choice(["left", "right", "bilateral"], p=[0.25, 0.35, 0.4]))
        on_side = (x > 0) if side == "right" else (x < 0) if side == "left" else np.ones(len(x), bool)
        zones = {"apical": z > 48, "basal": z < -75, "focal": np.abs(z + 20) < 45}
        rows = np.flatnonzero(zones[self.zone] & on_side & (points.wall < 26) & (points.depth > 4))
        count = int(rng.integers(4, 13))
        self.anchors = points.position[rng.choice(rows, size=min(count, len(rows)), replace=False)]
        self.strands, self.radii = self._draw_strands(rng)
        self.reticular = bool(self.zone != "focal" and rng.random() < 0.7)
        self._side = side
        words = {"apical": "apex", "basal": "lower lobe", "focal": "lung"}
        plural = {"apical": "both apices", "basal": "both lower lobes", "focal": "both lungs"}
        self.lesion = Lesion(
            finding=self.finding,
            side=side,
            location=plural[self.zone] if side == "bilateral" else f"{side} {words[self.zone]}",
            kind="reticular" if self.reticular else "band",
            severity=base.severity_of((count - 4) / 9),
            size_mm=round(float(2 * self.radii.max()), 1),
            count=len(self.anchors),
            centroid_ras=context.world(self.anchors.mean(axis=0)),
        )

    def _draw_strands(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return points and radii of strands that run from the pleura towards the hilum."""
        outward = self.anchors * [1.0, 1.0, 0.25] + [0, 10, 0]
        outward += rng.normal(0, 25, outward.shape)
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        share = np.linspace(-14, 26, 21)[None, :, None]
        length = rng.uniform(0.6, 1.2, (len(self.anchors), 1, 1))
        bow = rng.normal(0, 2.5, (len(self.anchors), 1, 3)) * np.sin(np.linspace(0, np.pi, 21))[None, :, None]
        strands = self.anchors[:, None] + outward[:, None] * share * length + bow
        radii = np.broadcast_to(rng.uniform(1.3, 2.6, (len(self.anchors), 1)), strands.shape[:2])
        return strands.reshape(-1, 3), radii.reshape(-1)

    def paint(self, scene: Scene) -> None:
        """Paint strands and reticulation."""
        splat = scene.splat(self.strands, self.radii)
        share = splat.occupied * lung_share(scene, splat.box, 1.5)
        scene.paint(splat.box, share, 10.0)
        scene.mark(splat.box, share > 0.4 * float(share.max()) if share.numel() else share > 1, self.finding)
        if self.reticular:
            self._paint_reticulation(scene)

    def _paint_reticulation(self, scene: Scene) -> None:
        """Paint a fine mesh in the outer 14 mm of the zone."""
        low, high = lungs.LOW.copy(), lungs.HIGH.copy()
        low[2], high[2] = (42, 116) if self.zone == "apical" else (-185, -70)
        low[0] = 0 if self._side == "right" else low[0]
        high[0] = 0 if self._side == "left" else high[0]
        box = scene.box(low, high)
        x, y, z = scene.coordinates(box)
        wall = self._thorax.cavity(x, y, z)
        near = ((16 - wall) / 5).clamp(0, 1) * lung_share(scene, box)
        near = near * (x >= low[0]) * (x <= high[0])
        mesh = sheet_share(
            ridge_distance(scene.noise("reticulation", self._CELL_MM, box), self._CELL_MM), 0.9, scene.edge
        )
        scene.paint(box, mesh * near, 20.0)
        scene.mark(box, mesh * near > 0.25, self.finding)
