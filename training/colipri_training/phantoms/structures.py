"""The label map of the phantoms: which number is which structure.

The anatomical definitions follow TotalSegmentator (Wasserthal et al., 2023) as closely as a drawn phantom can:

* lung lobes hold their vessels, segmental airways, nodules and consolidations; not the trachea, the main bronchi or
  pleural fluid;
* the heart is myocardium, chambers and their blood, without pericardial fat or pericardial fluid;
* the aorta is lumen and wall from the root down; the spine is vertebrae with their processes and the discs between.
"""

from __future__ import annotations

BACKGROUND = 0
BODY = 1
LEFT_UPPER_LOBE = 2
LEFT_LOWER_LOBE = 3
RIGHT_UPPER_LOBE = 4
RIGHT_MIDDLE_LOBE = 5
RIGHT_LOWER_LOBE = 6
HEART = 7
AORTA = 8
SPINE = 9
LIVER = 10
AIRWAYS = 11
BONES = 12
SPLEEN = 13
STOMACH = 14
PLEURAL_EFFUSION = 15
KIDNEYS = 16
OESOPHAGUS = 17
PULMONARY_ARTERY = 18

STRUCTURES: tuple[str, ...] = (
    "background",
    "body",
    "left upper lobe",
    "left lower lobe",
    "right upper lobe",
    "right middle lobe",
    "right lower lobe",
    "heart",
    "aorta",
    "spine",
    "liver",
    "airways",
    "other bones",
    "spleen",
    "stomach",
    "pleural effusion",
    "kidneys",
    "oesophagus",
    "pulmonary artery",
)
"""Structure names, indexed by label value."""

LUNG_LOBES: tuple[int, ...] = (
    LEFT_UPPER_LOBE,
    LEFT_LOWER_LOBE,
    RIGHT_UPPER_LOBE,
    RIGHT_MIDDLE_LOBE,
    RIGHT_LOWER_LOBE,
)
"""Labels of the five lobes, left before right and upper before lower."""
