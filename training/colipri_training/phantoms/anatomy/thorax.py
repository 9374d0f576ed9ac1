"""The shape of the chest: trunk, thoracic cavity, diaphragm, mediastinum, fissures, as depths in canonical mm."""

from __future__ import annotations

import torch
from torch import Tensor

from colipri_training.phantoms import structures
from colipri_training.phantoms.anatomy.heart import FAT_MM
from colipri_training.phantoms.anatomy.heart import Heart
from colipri_training.phantoms.fields import Profile
from colipri_training.phantoms.fields import superellipse_depth
from colipri_training.phantoms.patient import Patient

SPINE_Y = -46.0
CAVITY_WIDTH = Profile(
    [-220, -160, -110, -60, -10, 30, 65, 95, 112, 126], [134, 136, 136, 134, 126, 113, 95, 75, 62, 52]
)
CAVITY_DEPTH = Profile([-220, -160, -110, -60, -10, 30, 65, 95, 112, 126], [88, 90, 90, 88, 81, 70, 56, 44, 35, 28])
CAVITY_Y = Profile([-220, -110, -60, -10, 30, 65, 95, 126], [3, 3, 2, -2, -9, -17, -25, -30])
TRUNK_WIDTH = Profile(
    [-220, -120, -50, 10, 50, 80, 105, 125, 145, 200], [150, 154, 157, 160, 164, 166, 142, 94, 62, 58]
)
TRUNK_DEPTH = Profile([-220, -120, -50, 10, 50, 80, 105, 125, 145, 200], [101, 103, 105, 102, 95, 84, 72, 63, 58, 60])
TRUNK_Y = Profile([-220, -120, -50, 10, 50, 80, 105, 125, 145, 200], [-2, -4, -4, -5, -11, -18, -24, -24, -18, -10])
AORTA_X = Profile([-230, -120, -40, 10], [-8, -16, -25, -27])
AORTA_Y = Profile([-230, -120, -40, 10], [-22, -22, -34, -38])
_RETROSTERNAL = Profile([-160, -60, 30, 70, 110], [14, 8, 6, 14, 22])
_MIDDLE = Profile([-160, -100, -50, -10, 40, 80, 110], [14, 10, 18, 30, 30, 20, 14])
_LUNG_APEX_Z = 112.0


class Thorax:
    """The thoracic shapes of one patient, evaluated at canonical coordinates of any broadcastable shape."""

    def __init__(self, patient: Patient, heart: Heart) -> None:
        """Keep the patient and the heart, around which the lungs are moulded."""
        self.patient = patient
        self.heart = heart

    def cavity(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the depth inside the rib cage (pleura outwards negative)."""
        return superellipse_depth(x, y - CAVITY_Y(z), CAVITY_WIDTH(z), CAVITY_DEPTH(z))

    def trunk(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the depth inside the outer surface of the muscles."""
        extra = self.patient.muscle_mm
        return superellipse_depth(x, y - TRUNK_Y(z), TRUNK_WIDTH(z) + extra, TRUNK_DEPTH(z) + extra)

    def diaphragm(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the canonical height of the upper surface of the diaphragm: two domes that meet in the middle."""
        raise_right, raise_left = self.patient.dome_raise_mm
        right = self._dome(x - 58, y - 22, raise_right - 90)
        left = self._dome(-x - 64, y - 22, raise_left - 101)
        return torch.maximum(right, left)

    @staticmethod
    def _dome(lateral: Tensor, anterior: Tensor, top: float) -> Tensor:
        across = torch.where(lateral > 0, lateral / 86, lateral / 165)
        along = torch.where(anterior > 0, anterior / 140, anterior / 92)
        return top - 72 * (across.square() + along.square())

    def mediastinum(self, x: Tensor, y: Tensor, z: Tensor, *, heart: bool = True) -> Tensor:
        """Return the distance outside the mediastinum, spine, descending aorta and heart (negative inside them)."""
        middle = torch.exp(-((y + 12) / 30).square()) * _MIDDLE(z)
        slab = (x + 3).abs() - (_RETROSTERNAL(z) + middle)
        spine = (x.square() + (y - SPINE_Y).clamp(min=0).square()).sqrt() - 23
        aorta = ((x - AORTA_X(z)).square() + (y - AORTA_Y(z)).square()).sqrt() - 15 + (z - 8).clamp(min=0) * 0.4
        outside = torch.minimum(torch.minimum(slab, spine), aorta)
        return torch.minimum(outside, self.around_heart(x, y, z)) if heart else outside

    def around_heart(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the distance outside the pericardial sac and its fat (negative inside)."""
        return -self.heart.depth(x, y, z) - FAT_MM - self.heart.sac_mm

    def lungs(self, x: Tensor, y: Tensor, z: Tensor, *, heart: bool = True) -> Tensor:
        """Return the depth inside either lung before lesions; `heart=False` leaves the heart's room to the lungs."""
        apex = (_LUNG_APEX_Z - z) - ((x.abs() - 47).square() + 0.6 * (y + 22).square()) / 46
        base = (z - self.diaphragm(x, y)) * 0.75
        limit = torch.minimum(torch.minimum(apex * 0.6, base), self.mediastinum(x, y, z, heart=heart))
        return torch.minimum(self.cavity(x, y, z), limit)

    def fissures(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the height above the oblique fissure of the side, and above the horizontal fissure."""
        f = self.patient.fissure
        wave = 5 * torch.sin(x * 0.035 + f[0])
        right = z - (-32 + 5 * f[1] - (1.02 + 0.07 * f[2]) * y + wave)
        left = z - (-22 + 5 * f[3] - (1.12 + 0.07 * f[4]) * y + wave)
        horizontal = z - (-20 + 6 * f[5] + 0.07 * y + wave * 0.6 - 0.06 * (x - 60))
        return torch.where(x > 0, right, left) * 0.68, horizontal

    def lobes(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the lobe label (uint8) that a point has if it lies in a lung."""
        oblique, horizontal = self.fissures(x, y, z)
        upper = torch.where(horizontal > 0, structures.RIGHT_UPPER_LOBE, structures.RIGHT_MIDDLE_LOBE)
        right = torch.where(oblique > 0, upper, structures.RIGHT_LOWER_LOBE)
        left = torch.where(oblique > 0, structures.LEFT_UPPER_LOBE, structures.LEFT_LOWER_LOBE)
        return torch.where(x > 0, right, left).to(torch.uint8)
