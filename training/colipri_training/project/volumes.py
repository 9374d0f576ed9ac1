"""A project's labelled cases on the model grid, and which structures their labels mean."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colipri_core.preprocess import map_to_source
from colipri_core.preprocess import prepare
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.project_labels import LabelledCase
from colipri_core.vocabulary.structures import StructureConcept
from colipri_core.vocabulary.structures import concept

logger = logging.getLogger(__name__)


def structures_of(cases: Sequence[LabelledCase], wanted: Sequence[str] = ()) -> tuple[StructureConcept, ...]:
    """Return the structures to learn, with codes.

    Args:
        cases: The labelled cases.
        wanted: "NAME" or "NAME=CODE", such as "Thymus=SCT:9875009"; empty takes every name that a voxel is labelled
            with. Without a code of its own a name has the vocabulary's, or the one it was labelled with.

    Raises:
        ValueError: If a name is labelled nowhere; the message lists those that are.
    """
    labelled: dict[str, tuple[str, str]] = {}
    for case in cases:
        used = set(np.unique(case.labels.labelmap).tolist())
        for segment in case.labels.segments:
            if segment.label in used:
                name, code = labelled.get(segment.name.lower(), (segment.name, ""))
                labelled[segment.name.lower()] = (name, code or segment.code)
    asked = [text.partition("=") for text in wanted] or [(name, "", code) for name, code in labelled.values()]
    unknown = [name for name, _, _ in asked if name.strip().lower() not in labelled]
    if unknown:
        names = ", ".join(name for name, _ in labelled.values())
        msg = f'Expected structures that are labelled in the project, got "{unknown[0]}". Labelled: {names}.'
        raise ValueError(msg)
    return tuple(
        concept(name, code or labelled[name.strip().lower()][1], number) for number, (name, _, code) in enumerate(asked)
    )


class ProjectVolumes:
    """Labelled cases on the model grid, kept in memory as `LabelledVolumes`.

    Args:
        cases: The cases.
        structures: What their labels mean; the first is label 1, what is none of them is background.
        preprocessing: The model grid. Intensities beyond its window are cut, as the model never sees them.
    """

    def __init__(
        self, cases: Sequence[LabelledCase], structures: Sequence[StructureConcept], preprocessing: PreprocessSpec
    ) -> None:
        self._window = preprocessing.intensity_window
        self._names = [case.name for case in cases]
        self._volumes = [_on_grid(case, structures, preprocessing) for case in cases]

    def __len__(self) -> int:
        return len(self._volumes)

    def image(self, index: int) -> Tensor:
        """Return a volume as the model sees it, float32 (1, 1, X, Y, Z) in [-1, 1]."""
        return torch.from_numpy(self._volumes[index][0].astype(np.float32))[None, None]

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Return HU, float32 (X, Y, Z), and labels, int64 (X, Y, Z)."""
        low, high = self._window
        array, labels = self._volumes[index]
        hu = (array.astype(np.float32) + 1) / 2 * (high - low) + low
        return torch.from_numpy(hu), torch.from_numpy(labels.astype(np.int64))

    def identity(self) -> dict[str, Any]:
        """Hash of the intensities and labels of each case on the model grid, by its name."""
        pairs = zip(self._names, self._volumes, strict=True)
        return {name: hashlib.sha256(array.tobytes() + labels.tobytes()).hexdigest() for name, (array, labels) in pairs}


def _on_grid(
    case: LabelledCase, structures: Sequence[StructureConcept], preprocessing: PreprocessSpec
) -> tuple[np.ndarray, np.ndarray]:
    prepared = prepare(case.volume, preprocessing)
    table = np.zeros(int(case.labels.labelmap.max()) + 1, dtype=np.uint8)
    numbers = {structure.name.lower(): number for number, structure in enumerate(structures, start=1)}
    for segment in case.labels.segments:
        if segment.label < len(table):
            table[segment.label] = numbers.get(segment.name.strip().lower(), 0)
    labels = table[case.labels.labelmap]
    missing = [structures[number - 1].name for number in numbers.values() if not (labels == number).any()]
    if missing:
        logger.warning("%s: no voxel of %s; all of it counts as background there.", case.name, ", ".join(missing))
    return prepared.array, map_to_source(labels, case.volume.geometry, prepared.geometry, order=0)
