"""SubVolumeStore: cubes of phantoms at high resolution with their masks, generated once and kept on disk.

A cube is cut where it is drawn: only its own voxels are computed, so its cost does not grow with the scan. Where it
lies is a function of the seed alone. Some are laid around a finding of interest, the others anywhere in the chest.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from colipri_core.errors import InputError
from colipri_core.io.atomic import write_json
from colipri_training.data.store import CaseStore
from colipri_training.data.store import StoredCase
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms.case import TEST_FIRST_SEED
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.generator import NUM_FINDINGS
from colipri_training.phantoms.generator import Phantom
from colipri_training.phantoms.generator import describe
from colipri_training.phantoms.generator import draw_phantom
from colipri_training.phantoms.generator import render
from colipri_training.phantoms.lesions import base

TRAIN_FIRST_SEED = 500_000
"""First labelled phantom: far from those that pretraining recipes see, which count from 0."""

_AIMED_AT = (base.LUNG_NODULE, base.LYMPHADENOPATHY, base.CONSOLIDATION, base.CORONARY_CALCIFICATION)
_CHEST_MM = (85.0, 55.0, 90.0)
_AIM = 0.25
_FEWEST_VOXELS = 4
_GRID_FILE = "grid.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubVolumeConfig:
    """Which cubes there are. All figures are our choice.

    Attributes:
        size: Voxels along each axis.
        spacing_mm: Voxel size.
        train: Training cubes, one a phantom.
        test: Test cubes, of phantoms of the test split.
        aimed: Share of the cubes that are laid around a nodule, lymph node, consolidation or coronary calcification,
            of the phantoms that have one.
    """

    size: tuple[int, int, int] = (96, 96, 96)
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    train: int = 200
    test: int = 60
    aimed: float = 0.7

    def __post_init__(self) -> None:
        """Refuse data sets of nothing."""
        if min(self.train, self.test) < 1 or min(self.size) < 1 or min(self.spacing_mm) <= 0:
            msg = f"Sub-volumes need cases, voxels and a spacing above zero, got {self}."
            raise ValueError(msg)

    def seeds(self, split: Literal["train", "test"]) -> range:
        """Seeds of the phantoms of a split."""
        first, number = (TRAIN_FIRST_SEED, self.train) if split == "train" else (TEST_FIRST_SEED, self.test)
        return range(first, first + number)

    @property
    def place(self) -> dict[str, object]:
        """What decides the voxels of a seed, as plain values."""
        return {"size": list(self.size), "spacing_mm": list(self.spacing_mm), "aimed": self.aimed}


class SubVolumeStore:
    """The cubes of a config in a folder; others of the same grid may lie there too.

    Args:
        folder: Where they are kept; made if absent.
        config: Which.

    Raises:
        InputError: If the folder holds cubes of another grid.
    """

    def __init__(self, folder: Path, config: SubVolumeConfig) -> None:
        self.config = config
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / _GRID_FILE
        if not note.is_file():
            write_json(note, config.place)
        found = json.loads(note.read_text(encoding="utf-8"))
        if found != config.place:
            msg = f"Expected sub-volumes with {config.place} in {folder}, found {found}. Choose another folder."
            raise InputError(msg)
        self._store = CaseStore(folder / "cases")

    def fill(self, *, workers: int = 1) -> Iterator[int]:
        """Generate what is missing; yields each seed as it is finished."""
        wanted = [*self.config.seeds("test"), *self.config.seeds("train")]
        missing = [seed for seed in wanted if seed not in self._store]
        make = partial(_make, self._store.folder, self.config)
        if workers <= 1 or len(missing) < workers:
            yield from map(make, missing)
            return
        with multiprocessing.get_context("spawn").Pool(workers, initializer=_single_thread) as pool:
            yield from pool.imap_unordered(make, missing)

    def missing(self) -> int:
        """How many cubes have to be generated."""
        return sum(seed not in self._store for split in ("train", "test") for seed in self.config.seeds(split))  # type: ignore[arg-type]

    def read(self, seed: int) -> StoredCase:
        """Read a cube; `present` are the findings that it shows.

        Raises:
            KeyError: If it was not generated.
        """
        return self._store.read(seed)

    def present(self, seed: int) -> tuple[int, ...]:
        """The findings that a cube shows, without reading its voxels."""
        return tuple(self._store.read_text(seed)["present"])


def grid_of(phantom: Phantom, config: SubVolumeConfig) -> PhantomGrid:
    """Lay the cube of a phantom.

    Args:
        phantom: Whose.
        config: Size and spacing, and how often a finding is aimed at.
    """
    rng = stream(phantom.seed, "sub-volume")
    chance, pick = rng.random(), rng.random()
    offset = rng.uniform(-1, 1, 3)
    aims = [model.lesion.centroid_ras for model in phantom.models if model.finding in _AIMED_AT]
    if aims and chance < config.aimed:
        extent = np.asarray(config.size) * np.asarray(config.spacing_mm)
        centre = np.asarray(aims[int(pick * len(aims))]) + offset * _AIM * extent
    else:
        centre = offset * np.asarray(_CHEST_MM)
    x, y, z = (float(value) for value in centre)
    return PhantomGrid(shape=config.size, spacing=config.spacing_mm, centre=(x, y, z))


def _make(folder: Path, config: SubVolumeConfig, seed: int) -> int:
    phantom = draw_phantom(seed)
    grid = grid_of(phantom, config)
    scene = render(phantom, grid, torch.device("cpu"))
    lesions = scene.lesions.numpy().astype(np.int32)
    case = describe(phantom, grid)
    CaseStore(folder).write(
        StoredCase(
            seed=seed,
            hu=scene.hu.round().clamp(-2048, 4000).numpy().astype(np.int16),
            labels=scene.labels.numpy().astype(np.uint8),
            lesions=lesions,
            present=shown(lesions),
            report=f"{case.report.findings} {case.report.impression}",
            sentences=(),
        )
    )
    return seed


def shown(lesions: npt.NDArray[np.int32]) -> tuple[int, ...]:
    """Findings of which a cube holds enough voxels to be seen (four, our choice)."""
    numbers = (int(((lesions >> finding) & 1).sum()) for finding in range(NUM_FINDINGS))
    return tuple(finding for finding, number in enumerate(numbers) if number >= _FEWEST_VOXELS)


def _single_thread() -> None:
    torch.set_num_threads(1)
