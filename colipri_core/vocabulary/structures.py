"""Anatomical structures the models outline, with SNOMED CT codes and display colours."""

from __future__ import annotations

import colorsys
import dataclasses

_GOLDEN = 0.618034
"""Step of hue from one colour to the next: neighbours differ most (the golden ratio)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureConcept:
    """A structure that can be outlined.

    Args:
        name: Name shown to people.
        code: Coding scheme and value; empty if none fits.
        color: Red, green, blue in 0..255 (our choice, near 3D Slicer's generic anatomy colours).
    """

    name: str
    code: str
    color: tuple[int, int, int]


STRUCTURES: tuple[StructureConcept, ...] = (
    StructureConcept(name="Body", code="SCT:38266002", color=(177, 122, 101)),
    StructureConcept(name="Left upper lung lobe", code="SCT:44714003", color=(128, 174, 228)),
    StructureConcept(name="Left lower lung lobe", code="SCT:41224006", color=(80, 124, 196)),
    StructureConcept(name="Right upper lung lobe", code="SCT:42400003", color=(140, 214, 190)),
    StructureConcept(name="Right middle lung lobe", code="SCT:72481006", color=(88, 180, 140)),
    StructureConcept(name="Right lower lung lobe", code="SCT:266005", color=(46, 139, 106)),
    StructureConcept(name="Heart", code="SCT:80891009", color=(206, 110, 84)),
    StructureConcept(name="Aorta", code="SCT:15825003", color=(224, 97, 76)),
    StructureConcept(name="Spine", code="SCT:421060004", color=(241, 214, 145)),
    StructureConcept(name="Liver", code="SCT:10200004", color=(221, 130, 101)),
    StructureConcept(name="Airways", code="SCT:89187006", color=(182, 228, 255)),
    StructureConcept(name="Ribs and other bones", code="SCT:272673000", color=(230, 220, 190)),
    StructureConcept(name="Spleen", code="SCT:78961009", color=(157, 108, 162)),
    StructureConcept(name="Stomach", code="SCT:69695003", color=(216, 132, 105)),
)

ENCLOSING = frozenset({"body"})
"""Structures that enclose the others, in lower case: where they are, rather than what is there (our choice)."""


def concept(name: str, code: str = "", number: int = 0) -> StructureConcept:
    """Return a structure that need not be in the vocabulary.

    Args:
        name: Its name; one the vocabulary knows keeps the vocabulary's spelling, code and colour.
        code: Coding scheme and value of any other; empty if none fits.
        number: Decides the colour of any other: its place among the structures of its model.
    """
    for known in STRUCTURES:
        if known.name.lower() == name.strip().lower():
            return known
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb((0.08 + number * _GOLDEN) % 1.0, 0.55, 0.85))
    return StructureConcept(name=name.strip(), code=code, color=(red, green, blue))
