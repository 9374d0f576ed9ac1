"""Crops of phantoms around their lesions, with the lesion masks at half the resolution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.config import StemConfig
from colipri_training.data import augment
from colipri_training.data.store import CaseStore

_CELL = 2
_FILLED = _CELL**3 // 2
_TRIES = 3
_NUM_FINDINGS = len(CT_RATE_FINDINGS)


class LesionCrops:
    """The crops of any step, a pure function of it.

    Of the crops of a phantom all but the last lie around a voxel of one of its findings, each finding as likely as
    another; the last lies anywhere in the body. So a step sees small lesions as often as large ones.

    Args:
        store: The phantoms.
        config: How many, how large, and the model grid.
    """

    def __init__(self, store: CaseStore, config: StemConfig) -> None:
        self._store = store
        self._config = config

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return images (N, 1, E, E, E) in [-1, 1], and targets (N, F, M) as `cell_targets` gives them."""
        config = self._config
        rng = np.random.default_rng([config.seed, 4, step])
        images, targets = [], []
        for seed in rng.integers(0, config.train_cases, size=config.batch_size):
            case = self._store.read(int(seed))
            drawn = augment.draw(rng, config.shift_voxels)
            hu = augment.apply_to_image(torch.from_numpy(case.hu).float(), drawn)
            image = augment.to_unit(hu, config.preprocessing.intensity_window)
            lesions = augment.shift(torch.from_numpy(case.lesions), drawn.shift, fill=0)
            body = augment.shift(torch.from_numpy(case.labels), drawn.shift, fill=0).nonzero()
            for box in self._boxes(lesions, case.present, body, rng):
                images.append(image[box])
                targets.append(cell_targets(lesions[box], case.present))
        return torch.stack(images)[:, None], torch.stack(targets)

    def _boxes(
        self, lesions: Tensor, present: tuple[int, ...], body: Tensor, rng: np.random.Generator
    ) -> list[tuple[slice, ...]]:
        voxels = lesions.nonzero()
        bits = lesions[tuple(voxels.T)]
        middles = [self._within(voxels, bits, present, rng) for _ in range(self._config.crops - 1)]
        anywhere = body if len(body) else torch.tensor([[size // 2 for size in lesions.shape]])
        return [self._box(_pick(anywhere if found is None else found, rng), rng) for found in [*middles, None]]

    @staticmethod
    def _within(voxels: Tensor, bits: Tensor, present: tuple[int, ...], rng: np.random.Generator) -> Tensor | None:
        """Voxels of a random finding; none where the phantom has none, or they were shifted out of it."""
        for finding in rng.permutation(present)[:_TRIES]:
            shown = voxels[((bits >> int(finding)) & 1) == 1]
            if len(shown):
                return shown
        return None

    def _box(self, middle: Tensor, rng: np.random.Generator) -> tuple[slice, ...]:
        """A cube about a voxel, moved at random by up to a third of its edge, on the grid of the patches."""
        edge, patch = self._config.crop, self._config.patch_size
        moved = middle.numpy() - edge / 2 + rng.uniform(-edge / 3, edge / 3, size=3)
        room = np.asarray(self._config.preprocessing.size) - edge
        starts = np.clip(patch * np.round(moved / patch).astype(int), 0, room)
        return tuple(slice(int(start), int(start) + edge) for start in starts)


def cell_targets(lesions: Tensor, present: tuple[int, ...]) -> Tensor:
    """Lesion masks on cells of two voxels.

    A cell shows a finding if half of its voxels do, or as many as in the fullest cell; one with fewer, but not none,
    is left out.

    Args:
        lesions: int32 bit field (X, Y, Z), each axis even.
        present: Findings that occur at all.

    Returns:
        int8 (F, M): 1 shown, 0 not, -1 left out; the M cells in row-major order.
    """
    grid = [size // _CELL for size in lesions.shape]
    voxels = lesions.nonzero()
    bits = lesions[tuple(voxels.T)]
    x, y, z = (voxels // _CELL).T
    cells = (x * grid[1] + y) * grid[2] + z
    targets = torch.zeros(_NUM_FINDINGS, grid[0] * grid[1] * grid[2], dtype=torch.int8)
    for finding in present:
        shown = cells[((bits >> finding) & 1) == 1]
        if len(shown):
            counts = torch.bincount(shown, minlength=targets.shape[1])
            enough = min(_FILLED, int(counts.max()))
            targets[finding] = torch.where(counts >= enough, 1, torch.where(counts > 0, -1, 0))
    return targets


def _pick(voxels: Tensor, rng: np.random.Generator) -> Tensor:
    return voxels[int(rng.integers(len(voxels)))]
