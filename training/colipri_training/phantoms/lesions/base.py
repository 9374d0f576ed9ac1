"""What every drawn lesion shares: the context it is drawn in, its record, and the moments at which it may paint."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

import numpy as np

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.heart import Heart
from colipri_training.phantoms.anatomy.lungs import LungPoints
from colipri_training.phantoms.anatomy.lungs import LungTrees
from colipri_training.phantoms.anatomy.mediastinum import GreatVessels
from colipri_training.phantoms.anatomy.thorax import Thorax
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.patient import Patient
from colipri_training.phantoms.scene import Scene

(
    MEDICAL_MATERIAL,
    ARTERIAL_CALCIFICATION,
    CARDIOMEGALY,
    PERICARDIAL_EFFUSION,
    CORONARY_CALCIFICATION,
    HIATAL_HERNIA,
    LYMPHADENOPATHY,
    EMPHYSEMA,
    ATELECTASIS,
    LUNG_NODULE,
    LUNG_OPACITY,
    FIBROTIC_SEQUELA,
    PLEURAL_EFFUSION,
    MOSAIC_ATTENUATION,
    PERIBRONCHIAL_THICKENING,
    CONSOLIDATION,
    BRONCHIECTASIS,
    SEPTAL_THICKENING,
) = range(18)


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One patient's anatomy as parameters, before any voxel exists."""

    patient: Patient
    heart: Heart
    thorax: Thorax
    vessels: GreatVessels
    points: LungPoints
    trees: LungTrees


@dataclass(kw_only=True)
class DrawContext:
    """What lesions are drawn from; `taken` holds the (centre, radius) of the places that are occupied already."""

    seed: int
    anatomy: Anatomy
    present: frozenset[int]
    collapse_side: str
    taken: list[tuple[np.ndarray, float]] = field(default_factory=list)

    def rng(self, name: str) -> np.random.Generator:
        """Return the lesion's own random stream."""
        return stream(self.seed, "lesion " + name)

    def pick(self, rng: np.random.Generator, where: np.ndarray, radius: float) -> int | None:
        """Pick a free lung point among those where the mask holds, and take its surroundings; None if there is none."""
        free = where.copy()
        position = self.anatomy.points.position
        for centre, reach in self.taken:
            free &= np.linalg.norm(position - centre, axis=1) > reach + radius
        rows = np.flatnonzero(free)
        if not len(rows):
            return None
        row = int(rng.choice(rows))
        self.taken.append((position[row], radius))
        return row

    def world(self, centre: np.ndarray) -> tuple[float, float, float]:
        """Return the RAS+ mm of a canonical point."""
        x, y, z = self.anatomy.patient.pose.to_world(np.asarray(centre, dtype=np.float64)[None])[0]
        return float(x), float(y), float(z)


class LesionModel:
    """A lesion that can paint itself: first by taking room from the lung, then in the parenchyma, then on top."""

    finding: int
    lesion: Lesion

    def shape(self, scene: Scene) -> None:
        """Take room from the lungs (change `scene.lung_depth`)."""

    def parenchyma(self, scene: Scene) -> None:
        """Change the parenchyma under vessels and bronchi."""

    def paint(self, scene: Scene) -> None:
        """Paint over the finished anatomy."""


def severity_of(share: float) -> str:
    """Return the word for a severity between 0 and 1."""
    if share < 1 / 3:
        return "mild"
    return "moderate" if share < 2 / 3 else "severe"


def lobe_name(lobe: int) -> str:
    """Return the name of a lobe label."""
    return structures.STRUCTURES[lobe]


def lobe_side(lobe: int) -> str:
    """Return the side of a lobe label."""
    return "left" if lobe in {structures.LEFT_UPPER_LOBE, structures.LEFT_LOWER_LOBE} else "right"


def lobes_place(lobes: list[int]) -> tuple[str, str]:
    """Return (side, location) in words for one or several lobes."""
    sides = {lobe_side(lobe) for lobe in lobes}
    side = sides.pop() if len(sides) == 1 else "bilateral"
    names = [lobe_name(lobe) for lobe in sorted(set(lobes))]
    if len(names) == 1:
        return side, names[0]
    if len(names) >= 4:
        return "bilateral", "both lungs"
    return side, ", ".join(names[:-1]) + " and " + names[-1]
