"""The words of the reports: generic wordings, filler, and the prompts that are kept for evaluation.

Two kinds of text are kept apart on purpose. Reports are written from the wordings below. `EVALUATION_TEMPLATES` are the
present/absent prompts that zero-shot evaluation may use: no report ever contains them, so that a score on them measures
whether a model understood a finding and not whether it remembers a sentence. Fill them with `PHRASES[finding].terms`,
the radiologists' synonyms that do occur in reports. The slots are those of `wordings`.
"""

from __future__ import annotations

from colipri_training.phantoms.wordings import PHRASES
from colipri_training.phantoms.wordings import FindingPhrases

__all__ = [
    "EVALUATION_TEMPLATES",
    "FILLER",
    "GENERIC_IMPRESSION",
    "GENERIC_NEGATIVE",
    "GENERIC_POSITIVE",
    "NORMAL_IMPRESSION",
    "NORMAL_LUNGS",
    "PHRASES",
    "PLURAL_ENDINGS",
    "TECHNIQUE",
    "FindingPhrases",
]

EVALUATION_TEMPLATES: tuple[tuple[str, str], ...] = (
    ("CT demonstrates {x}.", "CT demonstrates no {x}."),
    ("Imaging evidence of {x}.", "No imaging evidence of {x}."),
    ("{x} present", "No {x} present"),
    ("{x} is present.", "{x} is not present."),
    ("This scan is positive for {x}.", "This scan is negative for {x}."),
)
"""(present, absent) prompt pairs that no report uses; `{x}` is a term of the finding."""

PLURAL_ENDINGS: tuple[str, ...] = (
    "nodes",
    "nodules",
    "septa",
    "lines",
    "bronchi",
    "walls",
    "bands",
    "sequelae",
    "wires",
    "clips",
)
"""How the terms and devices that take a plural verb end."""

GENERIC_POSITIVE: tuple[str, ...] = (
    "{severity} {term} {place}.",
    "There is {severity} {term} {place}.",
    "{term} is seen {place}.",
    "{severity} {term} is observed {place}.",
    "Findings compatible with {severity} {term} {place}.",
    "{term} is noted {place}.",
    "Note is made of {severity} {term} {place}.",
)
GENERIC_NEGATIVE: tuple[str, ...] = (
    "No {term}.",
    "There is no {term}.",
    "No {term} is seen.",
    "No evidence of {term}.",
    "{term} was not detected.",
    "No {term} identified.",
    "Negative for {term}.",
    "Without {term}.",
    "{term} is not observed.",
)
GENERIC_IMPRESSION: tuple[str, ...] = (
    "{term} {place}.",
    "{severity} {term} {place}.",
    "{term}, {severity}.",
)


FILLER: tuple[str, ...] = (
    "Trachea and both main bronchi are patent.",
    "The trachea is in the midline.",
    "The main airways are open.",
    "Mediastinal structures are evaluated as far as the examination allows.",
    "The calibre of the great vessels is within normal limits.",
    "The thoracic inlet is unremarkable.",
    "No lytic or destructive lesion is seen in the bones.",
    "Vertebral body heights are preserved.",
    "Osseous structures are intact.",
    "Visible parts of the upper abdominal organs show no gross abnormality.",
    "The adrenal glands are not enlarged where included.",
    "Chest wall soft tissues are unremarkable.",
    "The examination is of diagnostic quality.",
    "Breathing artefacts do not limit the assessment.",
)
NORMAL_LUNGS: tuple[str, ...] = (
    "The lungs are clear.",
    "Both lungs are normally aerated.",
    "Lung parenchyma is unremarkable.",
    "No active parenchymal disease.",
)
NORMAL_IMPRESSION: tuple[str, ...] = (
    "Normal chest CT.",
    "No significant abnormality of the chest.",
    "Thoracic CT within normal limits.",
    "Unremarkable examination.",
)
TECHNIQUE: tuple[tuple[str, ...], tuple[str, ...]] = (
    ("Non-contrast chest CT.", "Unenhanced CT of the thorax.", "Examination without intravenous contrast."),
    ("Contrast-enhanced chest CT.", "CT of the thorax after intravenous contrast.", "Enhanced chest CT."),
)
"""Sentences on contrast: (unenhanced, enhanced)."""
