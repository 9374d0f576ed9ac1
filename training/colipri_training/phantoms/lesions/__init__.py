"""The 18 findings: which are present, and how each draws and paints itself."""

from __future__ import annotations

from colipri_training.phantoms.lesions.airspace import Atelectasis
from colipri_training.phantoms.lesions.airspace import Consolidation
from colipri_training.phantoms.lesions.airspace import LungOpacity
from colipri_training.phantoms.lesions.airways import Bronchiectasis
from colipri_training.phantoms.lesions.airways import PeribronchialThickening
from colipri_training.phantoms.lesions.base import DrawContext
from colipri_training.phantoms.lesions.base import LesionModel
from colipri_training.phantoms.lesions.cardiac import ArterialCalcification
from colipri_training.phantoms.lesions.cardiac import Cardiomegaly
from colipri_training.phantoms.lesions.cardiac import CoronaryCalcification
from colipri_training.phantoms.lesions.cardiac import PericardialEffusion
from colipri_training.phantoms.lesions.hernia import HiatalHernia
from colipri_training.phantoms.lesions.interstitial import Emphysema
from colipri_training.phantoms.lesions.interstitial import FibroticSequela
from colipri_training.phantoms.lesions.interstitial import MosaicAttenuation
from colipri_training.phantoms.lesions.interstitial import SeptalThickening
from colipri_training.phantoms.lesions.material import MedicalMaterial
from colipri_training.phantoms.lesions.nodules import LungNodules
from colipri_training.phantoms.lesions.nodules import Lymphadenopathy
from colipri_training.phantoms.lesions.pleura import PleuralEffusion

_IN_DRAWING_ORDER = (
    PleuralEffusion,
    Consolidation,
    Atelectasis,
    Emphysema,
    LungOpacity,
    LungNodules,
    FibroticSequela,
    MosaicAttenuation,
    SeptalThickening,
    PeribronchialThickening,
    Bronchiectasis,
    HiatalHernia,
    Cardiomegaly,
    PericardialEffusion,
    ArterialCalcification,
    CoronaryCalcification,
    Lymphadenopathy,
    MedicalMaterial,
)
"""What takes the most room is drawn first, so that small lesions avoid it."""


def draw_lesions(context: DrawContext) -> list[LesionModel]:
    """Draw every finding that is present."""
    return [model(context) for model in _IN_DRAWING_ORDER if model.finding in context.present]
