"""The cases an evaluation runs on: generated phantoms, or a prepared data set, behind one protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from colipri_core.language.labeller import label_report
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_core.vocabulary.structures import STRUCTURES
from colipri_training.data.loader import model_input
from colipri_training.data.manifest import SPLITS
from colipri_training.data.phantoms import fill
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.store import CaseStore
from colipri_training.evaluation.errors import NoCasesError
from colipri_training.evaluation.evaluation_set import choose
from colipri_training.evaluation.zero_shot import normalise
from colipri_training.phantoms.case import TEST_FIRST_SEED
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED

OnMade = Callable[[int, int], None]
"""Told the number of cases that were made and of those that had to be."""

FIRST_SEEDS = {"train": 0, "validation": VALIDATION_FIRST_SEED, "test": TEST_FIRST_SEED}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One volume under evaluation.

    Args:
        id: Its name, fit for a file name.
        patient: Whose it is.
        split: "train", "validation" or "test".
        fingerprint: Changes with its voxels.
        report: Its report, or None.
        labels: 1 present, 0 absent, by name.
    """

    id: str
    patient: str
    split: str
    fingerprint: str
    report: str | None
    labels: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What is known of a volume voxel by voxel, on the model grid.

    Args:
        structures: (X, Y, Z) labelmap; label n is structure n - 1 of the vocabulary, and higher labels are parts of
            the body it does not name.
        lesions: (X, Y, Z), bit f set where finding f is.
    """

    structures: npt.NDArray[np.uint8]
    lesions: npt.NDArray[np.int32]


class Source(Protocol):
    """A data set to evaluate on.

    Attributes:
        name: Shown beside its figures.
        notes: What a reader of the figures must know of the choice of cases.
        has_reference: Whether `reference` gives masks.
        external: Whether thresholds and probes come from another data set.
    """

    name: str
    notes: tuple[str, ...]
    has_reference: bool
    external: bool

    def check(self, spec: PreprocessSpec) -> None:
        """Raise if the volumes cannot be had on a model grid."""
        ...

    def cases(self, split: str, spec: PreprocessSpec, on_made: OnMade | None = None) -> Sequence[Case]:
        """Return the cases of a split, ready to be read on a model grid; what has to be made first is told of."""
        ...

    def image(self, case: Case, spec: PreprocessSpec) -> Tensor:
        """Return a volume (X, Y, Z) on a model grid, in [-1, 1]."""
        ...

    def reference(self, case: Case, spec: PreprocessSpec) -> Reference | None:
        """Return what is known voxel by voxel, or None."""
        ...


class PhantomSource:
    """Generated phantoms, kept in a folder for each grid.

    Args:
        folder: Where they are kept.
        sizes: Number of phantoms by split.
        workers: Processes that generate missing ones.
    """

    def __init__(self, folder: Path, sizes: Mapping[str, int], *, workers: int = 1) -> None:
        self.name = "phantoms"
        self.notes: tuple[str, ...] = (
            "Generated phantoms: no real texture, disease or radiologist. Not a clinical figure.",
        )
        self.has_reference = True
        self.external = False
        self._folder = folder
        self._workers = workers
        self._seeds = {split: range(FIRST_SEEDS[split], FIRST_SEEDS[split] + sizes.get(split, 0)) for split in SPLITS}

    def check(self, spec: PreprocessSpec) -> None:
        """Refuse a model that wants another orientation than phantoms are drawn in.

        Raises:
            NoCasesError: If it does.
        """
        if spec.orientation != "RAS":
            msg = (
                f"Phantoms are drawn on RAS grids, the model wants {spec.orientation}. Test it on a prepared data set."
            )
            raise NoCasesError(msg)

    def cases(self, split: str, spec: PreprocessSpec, on_made: OnMade | None = None) -> tuple[Case, ...]:
        """Return the phantoms of a split; those missing on a grid are generated."""
        store, seeds = self._store_of(spec), self._seeds[split]
        missing = sum(seed not in store for seed in seeds)
        for done, _ in enumerate(fill(store, seeds, spec, workers=self._workers), start=1):
            if on_made is not None:
                on_made(done, missing)
        return tuple(_phantom(store, seed, split) for seed in seeds)

    def image(self, case: Case, spec: PreprocessSpec) -> Tensor:
        """Return a phantom (X, Y, Z) on a model grid, in [-1, 1]."""
        return normalise(self._store_of(spec).read(int(case.id)), spec)[0, 0]

    def reference(self, case: Case, spec: PreprocessSpec) -> Reference:
        """Return a phantom's structures and lesions."""
        stored = self._store_of(spec).read(int(case.id))
        return Reference(structures=stored.labels, lesions=stored.lesions)

    def _store_of(self, spec: PreprocessSpec) -> CaseStore:
        size = "x".join(str(voxels) for voxels in spec.size)
        spacing = "x".join(f"{mm:g}" for mm in spec.spacing_mm)
        place = self._folder / f"{size}-{spacing}mm"
        place.parent.mkdir(parents=True, exist_ok=True)
        return CaseStore(place)


class PreparedSource:
    """A prepared data set, by the rule of `evaluation_set`.

    Args:
        folder: Where `colipri-train prepare` wrote.
        external: Every volume is tested, whatever its split: the data set was never trained on.
        sizes: Most cases by split; splits that are not named are whole.
    """

    def __init__(self, folder: Path, *, external: bool = False, sizes: Mapping[str, int] | None = None) -> None:
        self.name = folder.resolve().name
        self.has_reference = False
        self.external = external
        self._prepared = PreparedVolumes(folder)
        self._volumes: dict[str, PreparedVolume] = {}
        self._cases: dict[str, tuple[Case, ...]] = {}
        notes: list[str] = []
        for split in SPLITS:
            if external:
                found = self._prepared.volumes if split == "test" else ()
            else:
                found = tuple(volume for volume in self._prepared.volumes if volume.split == split)
            chosen = choose(found, distinct_reports=split == "test", most=(sizes or {}).get(split))
            notes += [f"{split}: {note}" for note in chosen.notes]
            self._volumes |= {volume.id: volume for volume in chosen.volumes}
            self._cases[split] = tuple(_case(volume, split) for volume in chosen.volumes)
        if any(not volume.labels and volume.report is not None for volume in self._volumes.values()):
            notes.append("Volumes without labels got those that the rule-based labeller reads from their reports.")
        self.notes = tuple(notes)

    def check(self, spec: PreprocessSpec) -> None:
        """Refuse a model that needs another grid.

        Raises:
            PreparedDataError: If orientation or spacing differ.
        """
        self._prepared.check_grid(spec)

    def cases(self, split: str, spec: PreprocessSpec, on_made: OnMade | None = None) -> tuple[Case, ...]:
        """Return the chosen cases of a split; they are prepared already."""
        del spec, on_made
        return self._cases[split]

    def image(self, case: Case, spec: PreprocessSpec) -> Tensor:
        """Return a volume (X, Y, Z) on a model grid, in [-1, 1]."""
        return model_input(self._prepared, self._volumes[case.id], spec)

    def reference(self, case: Case, spec: PreprocessSpec) -> None:
        """Prepared data sets have no masks."""


def structure_names() -> tuple[str, ...]:
    """Names of the labels 1, 2, ... of a reference labelmap."""
    return tuple(concept.name for concept in STRUCTURES)


def _phantom(store: CaseStore, seed: int, split: str) -> Case:
    known = store.read_text(seed)
    present = set(known["present"])
    return Case(
        id=f"{seed:07d}",
        patient=f"phantom-{seed}",
        split=split,
        fingerprint=f"phantom-{seed}",
        report=known["report"],
        labels={name: int(index in present) for index, name in enumerate(CT_RATE_FINDINGS)},
    )


def _case(volume: PreparedVolume, split: str) -> Case:
    labels = dict(volume.labels)
    if not labels and volume.report is not None:
        found = label_report(volume.report).vector
        labels = {name: int(present) for name, present in zip(CT_RATE_FINDINGS, found, strict=True)}
    return Case(
        id=volume.id,
        patient=volume.patient,
        split=split,
        fingerprint=volume.record.voxels_sha256,
        report=volume.report,
        labels=labels,
    )
