"""Seeded synthetic chest CT phantoms with masks, findings and reports."""

from __future__ import annotations

from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.case import PhantomCase
from colipri_training.phantoms.case import PhantomReport
from colipri_training.phantoms.case import Sentence
from colipri_training.phantoms.case import split_of
from colipri_training.phantoms.generator import PhantomBatch
from colipri_training.phantoms.generator import generate
from colipri_training.phantoms.generator import generate_case
from colipri_training.phantoms.grid import PhantomGrid
from colipri_training.phantoms.structures import LUNG_LOBES
from colipri_training.phantoms.structures import STRUCTURES

__all__ = [
    "LUNG_LOBES",
    "STRUCTURES",
    "Lesion",
    "PhantomBatch",
    "PhantomCase",
    "PhantomGrid",
    "PhantomReport",
    "Sentence",
    "generate",
    "generate_case",
    "split_of",
]
