"""The 18 chest CT abnormalities of CT-RATE, in the order of its label files, with codes and wordings.

Codes are SNOMED CT ("SCT") or RadLex ("RADLEX") where a concept with the same meaning is known. The others carry a
code of this project's own private scheme ("99COLIPRI", the form DICOM gives private schemes) rather than a near miss.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingConcept:
    """An abnormality the models are asked about by default.

    Args:
        name: CT-RATE's name.
        code: Coding scheme and value.
        terms: Radiologists' noun phrases for it, the usual one first; each fits "There is {term}" and "No {term}".
        focal: Whether it has a place one can point at, other than a whole organ.
    """

    name: str
    code: str
    terms: tuple[str, ...]
    focal: bool


def _concept(name: str, code: str, terms: str, *, focal: bool = True) -> FindingConcept:
    return FindingConcept(name=name, code=code, terms=tuple(terms.split("; ")), focal=focal)


CT_RATE_CONCEPTS: tuple[FindingConcept, ...] = (
    _concept("Medical material", "99COLIPRI:medical-material", "medical material; implanted medical device"),
    _concept(
        "Arterial wall calcification",
        "99COLIPRI:arterial-wall-calcification",
        "arterial wall calcification; calcified aortic plaque; aortic calcification",
    ),
    _concept("Cardiomegaly", "SCT:8186001", "cardiomegaly; cardiac enlargement; enlarged heart"),
    _concept("Pericardial effusion", "SCT:373945007", "pericardial effusion; pericardial fluid"),
    _concept(
        "Coronary artery wall calcification",
        "SCT:445512009",
        "coronary artery wall calcification; coronary artery calcification; calcified coronary plaque",
    ),
    _concept("Hiatal hernia", "SCT:84089009", "hiatal hernia; hiatus hernia"),
    _concept("Lymphadenopathy", "SCT:30746006", "lymphadenopathy; enlarged lymph nodes"),
    _concept("Emphysema", "SCT:87433001", "emphysema; emphysematous change", focal=False),
    _concept("Atelectasis", "SCT:46621007", "atelectasis; atelectatic change"),
    _concept("Lung nodule", "RADLEX:RID50149", "lung nodule; pulmonary nodule"),
    _concept("Lung opacity", "99COLIPRI:lung-opacity", "lung opacity; ground-glass opacity"),
    _concept(
        "Pulmonary fibrotic sequela",
        "99COLIPRI:pulmonary-fibrotic-sequela",
        "pulmonary fibrotic sequela; fibrotic scarring; sequela fibrotic change",
    ),
    _concept("Pleural effusion", "SCT:60046008", "pleural effusion; pleural fluid"),
    _concept(
        "Mosaic attenuation pattern",
        "99COLIPRI:mosaic-attenuation-pattern",
        "mosaic attenuation pattern; mosaic attenuation",
        focal=False,
    ),
    _concept(
        "Peribronchial thickening",
        "99COLIPRI:peribronchial-thickening",
        "peribronchial thickening; bronchial wall thickening",
    ),
    _concept("Consolidation", "SCT:95436008", "consolidation; airspace consolidation"),
    _concept("Bronchiectasis", "SCT:12295008", "bronchiectasis; bronchiectatic change"),
    _concept(
        "Interlobular septal thickening",
        "99COLIPRI:interlobular-septal-thickening",
        "interlobular septal thickening; septal thickening",
        focal=False,
    ),
)

CT_RATE_FINDINGS: tuple[str, ...] = tuple(concept.name for concept in CT_RATE_CONCEPTS)
"""The 18 names, in CT-RATE's order."""

_BY_NAME = {concept.name.lower(): concept for concept in CT_RATE_CONCEPTS}


def find_concept(text: str) -> FindingConcept | None:
    """Return the concept whose name or term is `text` (case and outer spaces do not matter), or None."""
    key = text.strip().lower()
    if key in _BY_NAME:
        return _BY_NAME[key]
    return next((concept for concept in CT_RATE_CONCEPTS if key in concept.terms), None)
