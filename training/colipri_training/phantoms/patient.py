"""Patient: the drawn traits of one phantom, from body size to contrast phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.pose import Pose
from colipri_training.phantoms.pose import draw_pose

_CANONICAL_INNER_WIDTH_MM = 262.0


@dataclass(frozen=True, kw_only=True)
class Blood:
    """HU of the blood pools, which tell the contrast phase."""

    phase: str
    pulmonary: float
    right_heart: float
    left_heart: float
    aorta: float
    veins: float


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Traits of one phantom; lengths in canonical mm, intensities in HU.

    Attributes:
        heart_ratio: Cardiothoracic ratio; above 0.55 is cardiomegaly.
        sac_mm: Thickness of the pericardial fluid, 0 without effusion.
        dome_raise_mm: Elevation of the right and left hemidiaphragm.
        coverage: Canonical z range that was scanned.
    """

    seed: int
    female: bool
    age: float
    pose: Pose
    fat_mm: float
    muscle_mm: float
    breast_mm: float
    arms_up: bool
    blood: Blood
    muscle_hu: float
    fat_hu: float
    bone_hu: float
    liver_hu: float
    lung_hu: float
    heart_ratio: float
    sac_mm: float
    dome_raise_mm: tuple[float, float]
    fissure: np.ndarray
    coverage: tuple[float, float]


def draw_blood(rng: np.random.Generator) -> Blood:
    """Draw a contrast phase: 45 % unenhanced, else pulmonary arterial, systemic arterial or venous."""
    base = float(rng.uniform(35, 48))
    phase = str(rng.choice(["unenhanced", "pulmonary", "arterial", "venous"], p=[0.45, 0.15, 0.15, 0.25]))
    high, low = rng.uniform(230, 400), rng.uniform(120, 200)
    table = {
        "unenhanced": (base,) * 5,
        "pulmonary": (high, high * 0.85, low, low * 0.9, 90.0),
        "arterial": (low * 1.2, low, high * 0.85, high * 0.85, 100.0),
        "venous": (low, low * 0.95, low, low, low * 0.95),
    }
    pulmonary, right, left, aorta, veins = table[phase]
    return Blood(phase=phase, pulmonary=pulmonary, right_heart=right, left_heart=left, aorta=aorta, veins=veins)


def _coverage(rng: np.random.Generator) -> tuple[float, float]:
    """Draw the scanned z range: the whole chest, at times cut short at the top or at the bottom."""
    low, high = rng.uniform(-215, -175), rng.uniform(120, 165)
    kind = rng.random()
    if kind < 0.10:
        high = rng.uniform(40, 90)
    elif kind < 0.18:
        low = rng.uniform(-110, -60)
    return float(low), float(high)


def _size(rng: np.random.Generator, female: bool) -> tuple[float, float, float]:
    """Draw the body scale; women are about 7 % smaller."""
    overall = rng.normal(0.98 if female else 1.05, 0.05)
    spread = rng.normal(1.0, [0.04, 0.06, 0.04])
    x, y, z = np.clip(overall * spread, 0.84, 1.17)
    return float(x), float(y), float(z)


def _heart_ratio(rng: np.random.Generator, enlarged: bool) -> float:
    """Draw the cardiothoracic ratio: 0.57 to 0.70 where enlarged, else 0.38 to 0.51."""
    return float(rng.uniform(0.57, 0.70) if enlarged else rng.uniform(0.38, 0.51))


def _dome_raise(rng: np.random.Generator, collapse_side: str) -> tuple[float, float]:
    """Draw the height of the domes; volume loss raises the dome of its side."""
    right, left = rng.normal(0, 6, size=2)
    lift = rng.uniform(12, 26)
    return float(right + lift * (collapse_side == "right")), float(left + lift * (collapse_side == "left"))


def draw_patient(seed: int, *, cardiomegaly: bool, sac_mm: float, collapse_side: str) -> Patient:
    """Draw the traits of phantom `seed`.

    Args:
        seed: The phantom's seed.
        cardiomegaly: Whether the heart is enlarged.
        sac_mm: Thickness of the pericardial fluid in mm.
        collapse_side: "left" or "right" where a lobe has lost volume, else "".
    """
    rng = stream(seed, "patient")
    female = bool(rng.random() < 0.47)
    age = float(np.clip(rng.normal(58, 16), 20, 92))
    fatness = float(rng.gamma(2.6, 1.0))
    return Patient(
        seed=seed,
        female=female,
        age=age,
        pose=draw_pose(stream(seed, "pose"), _size(rng, female)),
        fat_mm=3.0 + 4.6 * fatness * (1.15 if female else 1.0),
        muscle_mm=float(rng.uniform(-4, 6)) - (4.0 if female else 0.0) - 0.06 * (age - 58),
        breast_mm=float(rng.uniform(14, 48)) if female else 0.0,
        arms_up=bool(rng.random() < 0.75),
        blood=draw_blood(stream(seed, "blood")),
        muscle_hu=float(rng.uniform(42, 64)),
        fat_hu=float(rng.uniform(-112, -90)),
        bone_hu=float(np.clip(rng.normal(215 - 1.4 * (age - 50), 35), 90, 310)),
        liver_hu=float(rng.uniform(10, 40) if rng.random() < 0.15 else rng.uniform(50, 66)),
        lung_hu=float(rng.uniform(-918, -832)),
        heart_ratio=_heart_ratio(stream(seed, "heart"), cardiomegaly),
        sac_mm=sac_mm,
        dome_raise_mm=_dome_raise(stream(seed, "dome"), collapse_side),
        fissure=stream(seed, "fissure").normal(0, 1, size=6),
        coverage=_coverage(stream(seed, "coverage")),
    )


def inner_width_mm() -> float:
    """Canonical inner width of the thorax at heart level, to which the cardiothoracic ratio refers."""
    return _CANONICAL_INNER_WIDTH_MM
