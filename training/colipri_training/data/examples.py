"""Validation sets: volumes as inference sees them, with what is known of each, from phantoms or prepared data sets."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data import augment
from colipri_training.data.loader import UNKNOWN
from colipri_training.data.loader import model_input
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.store import CaseStore
from colipri_training.data.store import StoredCase
from colipri_training.data.volume_batches import plain_text


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One volume of a validation set.

    Args:
        image: (X, Y, Z) in [-1, 1].
        labels: (F,) 1 present, 0 absent, -1 unknown.
        case: The phantom it is, with its lesions; None for a patient.
    """

    image: Tensor
    labels: npt.NDArray[np.int8]
    case: StoredCase | None = None


class Examples(Protocol):
    """A validation set; a volume is read when it is asked for."""

    def __len__(self) -> int:
        """Number of volumes."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Read a volume."""
        ...

    def reports(self) -> list[str | None]:
        """Their reports; None where there is none."""
        ...


class PhantomExamples:
    """Phantoms of a store.

    Args:
        store: Where they lie.
        seeds: Which.
        spec: The model grid.
    """

    def __init__(self, store: CaseStore, seeds: Sequence[int], spec: PreprocessSpec) -> None:
        self._store, self._seeds, self._spec = store, seeds, spec

    def __len__(self) -> int:
        """See `Examples`."""
        return len(self._seeds)

    def __getitem__(self, index: int) -> Example:
        """See `Examples`."""
        case = self._store.read(self._seeds[index])
        labels = np.isin(np.arange(len(CT_RATE_FINDINGS)), case.present).astype(np.int8)
        image = augment.to_unit(torch.from_numpy(case.hu.astype(np.float32)), self._spec.intensity_window)
        return Example(image=image, labels=labels, case=case)

    def reports(self) -> list[str | None]:
        """See `Examples`."""
        return [self._store.read_text(seed)["report"] for seed in self._seeds]


class PreparedExamples:
    """Volumes of the validation split of prepared data sets that have a report or labels, each report once.

    Args:
        sources: The data sets.
        spec: The model grid.
        most: How many to take at most, chosen by the hashes of their ids: the same ones in every run.
    """

    def __init__(self, sources: Sequence[PreparedVolumes], spec: PreprocessSpec, *, most: int) -> None:
        self._spec = spec
        told = [
            (source, volume)
            for source in sources
            for volume in source.volumes
            if volume.split == "validation" and (volume.report is not None or volume.labels)
        ]
        told.sort(key=lambda placed: hashlib.sha256(placed[1].id.encode()).digest())
        once: dict[str, tuple[PreparedVolumes, PreparedVolume]] = {}
        for source, volume in told:
            once.setdefault(volume.report or volume.id, (source, volume))
        self._placed = list(once.values())[:most]

    def __len__(self) -> int:
        """See `Examples`."""
        return len(self._placed)

    def __getitem__(self, index: int) -> Example:
        """See `Examples`."""
        source, volume = self._placed[index]
        labels = np.array([volume.labels.get(name, UNKNOWN) for name in CT_RATE_FINDINGS], dtype=np.int8)
        return Example(image=model_input(source, volume, self._spec), labels=labels)

    def reports(self) -> list[str | None]:
        """See `Examples`."""
        return [None if volume.report is None else plain_text(volume.report) for _, volume in self._placed]
