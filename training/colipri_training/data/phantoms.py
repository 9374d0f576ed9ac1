"""Filling a `CaseStore` with phantoms: resumable, several processes, the same result in any order."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.data.store import CaseStore
from colipri_training.data.store import StoredCase
from colipri_training.data.store import StoredSentence
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import generate

logger = logging.getLogger(__name__)


def fill(store: CaseStore, seeds: Sequence[int], spec: PreprocessSpec, *, workers: int = 1) -> Iterator[int]:
    """Generate the phantoms a store does not hold yet.

    Args:
        store: Where they go.
        seeds: Which phantoms.
        spec: The model grid; its orientation must be RAS, which phantoms are drawn in.
        workers: Processes.

    Yields:
        Each seed as it is finished.

    Raises:
        ValueError: If the grid is not RAS.
    """
    if spec.orientation != "RAS":
        msg = f"Phantoms are drawn on RAS grids, got {spec.orientation}."
        raise ValueError(msg)
    missing = [seed for seed in seeds if seed not in store]
    make = partial(_make, store.folder, PhantomGrid(shape=spec.size, spacing=spec.spacing_mm))
    if workers <= 1:
        yield from map(make, missing)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_single_thread) as pool:
        yield from pool.imap_unordered(make, missing, chunksize=4)


def _single_thread() -> None:
    torch.set_num_threads(1)


def _make(folder: Path, grid: PhantomGrid, seed: int) -> int:
    batch = generate([seed], grid)
    case = batch.cases[0]
    CaseStore(folder).write(
        StoredCase(
            seed=seed,
            hu=batch.hu[0].round().clamp(-2048, 4000).numpy().astype(np.int16),
            labels=batch.labels[0].numpy().astype(np.uint8),
            lesions=batch.lesions[0].numpy().astype(np.int32),
            present=tuple(int(index) for index in batch.findings[0].nonzero()[:, 0]),
            report=f"{case.report.findings} {case.report.impression}",
            sentences=tuple(
                StoredSentence(text=sentence.text, finding=sentence.finding, positive=sentence.positive)
                for sentence in case.sentences
            ),
        )
    )
    return seed
