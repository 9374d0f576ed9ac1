"""Batches as a pure function of the step, so that a resumed run reads exactly what the first would have."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.config import PretrainConfig
from colipri_training.data import augment
from colipri_training.data.batch import Batch
from colipri_training.data.config import DataConfig
from colipri_training.data.store import CaseStore
from colipri_training.data.store import StoredCase
from colipri_training.data.text import SentenceBank
from colipri_training.data.text import shorten
from colipri_training.distributed import world

Tokenize = Callable[[list[str], int], tuple[Tensor, Tensor]]
"""Texts and longest length to (ids, mask)."""

_NUM_FINDINGS = len(CT_RATE_FINDINGS)
_SMALLEST_VISIBLE_VOXELS = 2
_SHARE_OF_LARGEST = 0.2


class BatchMaker:
    """Makes the batch of any step.

    Args:
        store: The prepared cases.
        config: The run.
        bank: Sentences of the training reports.
        tokenize: The run's tokenizer.
    """

    pairs = 1

    def __init__(self, store: CaseStore, config: PretrainConfig, bank: SentenceBank, tokenize: Tokenize) -> None:
        self._store = store
        self._config = config
        self._bank = bank
        self._tokenize = tokenize
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def seeds(self, step: int) -> list[int]:
        """Seeds of the cases of a step; every epoch shows each case once, in its own order."""
        data = self._config.data
        first = step * data.batch_size
        places = [divmod(first + offset, data.train_cases) for offset in range(data.batch_size)]
        return [int(self._order(epoch)[index]) for epoch, index in places]

    def __call__(self, step: int) -> Batch:
        """Make the batch of a step."""
        rng = np.random.default_rng([self._config.seed, 1, step])
        cases = [self._store.read(seed) for seed in self.seeds(step)]
        draws = [augment.draw(rng, self._config.data.shift_voxels) for _ in cases]
        images = torch.stack([self._image(case, drawn) for case, drawn in zip(cases, draws, strict=True)])
        shown = [self._regions(case, drawn) for case, drawn in zip(cases, draws, strict=True)]
        regions = torch.stack([region for region, _ in shown])
        keep = self._keep(regions, torch.stack([inside for _, inside in shown]), step)
        return Batch(
            images=images[:, None],
            keep=keep,
            findings=finding_targets(regions, keep),
            regions=regions.take_along_dim(keep[:, None], dim=2),
            reports=self._reports(cases, rng),
            **self._sentences(rng),
            targets=self._targets(cases),
            unpaired=self._unpaired(step),
        )

    def _shuffled(self, epoch: int) -> np.ndarray:
        """Order of the cases in an epoch; the first goes by seed, so that a run can start while cases are prepared."""
        if epoch == 0:
            return np.arange(self._config.data.train_cases)
        return np.random.default_rng([self._config.seed, 0, epoch]).permutation(self._config.data.train_cases)

    def _image(self, case: StoredCase, drawn: augment.Augmentation) -> Tensor:
        hu = augment.apply_to_image(torch.from_numpy(case.hu).float(), drawn)
        return augment.to_unit(hu, self._config.preprocessing.intensity_window)

    def _regions(self, case: StoredCase, drawn: augment.Augmentation) -> tuple[Tensor, Tensor]:
        patch = self._config.model.image.patch_size
        counts = count_findings(torch.from_numpy(case.lesions), case.present, patch, drawn.shift)
        inside = augment.shift(torch.from_numpy(case.labels), drawn.shift, fill=0) > 0
        return region_targets(counts), _any_in_patch(inside, patch)

    def _keep(self, regions: Tensor, inside: Tensor, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)
        return choose_tokens(regions, inside, self._config.data, generator)

    def _reports(self, cases: list[StoredCase], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        texts = [shorten([sentence.text for sentence in case.sentences], rng) for case in cases]
        return self._tokenize(texts, self._config.data.max_report_length)

    def _targets(self, cases: list[StoredCase]) -> tuple[Tensor, Tensor] | None:
        """The reports as they were written, in full and in order."""
        if self._config.report is None or not self._config.loss.report:
            return None
        return self._tokenize([case.report for case in cases], self._config.report.max_length)

    def _unpaired(self, step: int) -> Tensor | None:
        """Cases whose report is left unread, drawn apart from those of the step."""
        data = self._config.data
        if not data.unpaired:
            return None
        rng = np.random.default_rng([self._config.seed, 3, step])
        seeds = rng.integers(0, data.train_cases, size=data.unpaired)
        cases = [self._store.read(int(seed)) for seed in seeds]
        return torch.stack([self._image(case, augment.draw(rng, data.shift_voxels)) for case in cases])[:, None]

    def _sentences(self, rng: np.random.Generator) -> dict[str, tuple[Tensor, Tensor]]:
        drawn = [self._bank.draw_pairs(rng) for _ in range(self.pairs)]
        length = self._config.data.max_sentence_length
        affirming = [text for texts, _ in drawn for text in texts]
        denying = [text for _, texts in drawn for text in texts]
        return {"affirming": self._tokenize(affirming, length), "denying": self._tokenize(denying, length)}


def own_part(batches: Callable[[int], Batch]) -> Callable[[int], Batch]:
    """This process's part of each global batch; every process makes the whole, which phantoms are small enough for."""
    here = world()
    return lambda step: batches(step).part(here.rank, here.size)


def choose_tokens(regions: Tensor, inside: Tensor, data: DataConfig, generator: torch.Generator) -> Tensor:
    """Choose the tokens to encode: some that show findings, some of air, the rest at random, the body first.

    Args:
        regions: (B, F, N) from `region_targets`.
        inside: (B, N) whether a token holds any of the body.
        data: How many, and the shares.
        generator: Source of randomness.

    Returns:
        (B, K) int64, rising.
    """
    size = min(data.tokens, inside.shape[1])
    score = torch.rand(inside.shape, generator=generator)
    chosen = inside.float()
    for candidates, share in (((regions == 1).any(dim=1), data.lesion_share), (~inside, data.air_share)):
        best = (score * candidates).topk(round(share * size), dim=1).indices
        chosen.scatter_add_(1, best, 2.0 * candidates.take_along_dim(best, dim=1))
    return (score + chosen).topk(size, dim=1).indices.sort(dim=1).values


def count_findings(
    lesions: Tensor, present: tuple[int, ...], patch: int, shift: tuple[int, int, int] = (0, 0, 0)
) -> Tensor:
    """Count the voxels of each finding in each patch.

    Args:
        lesions: int32 bit field (X, Y, Z).
        present: Findings that occur at all.
        patch: Edge of a patch in voxels.
        shift: Voxels by which the volume moves along each axis; what leaves it does not count.

    Returns:
        (F, N) float, tokens in row-major order.
    """
    grid = torch.tensor([size // patch for size in lesions.shape])
    voxels = lesions.nonzero()
    bits = lesions[tuple(voxels.T)]
    moved = voxels + torch.tensor(shift)
    inside = ((moved >= 0) & (moved < grid * patch)).all(dim=1)
    x, y, z = (moved[inside] // patch).T
    tokens, bits = (x * grid[1] + y) * grid[2] + z, bits[inside]
    counts = torch.zeros(_NUM_FINDINGS, int(grid.prod()))
    for finding in present:
        shown = tokens[(bits >> finding) & 1 == 1]
        counts[finding] = torch.bincount(shown, minlength=counts.shape[1]).float()
    return counts


def finding_targets(regions: Tensor, keep: Tensor) -> Tensor:
    """Turn token targets into targets of the whole volume, given which tokens the encoder sees.

    Args:
        regions: (B, F, N) from `region_targets`.
        keep: (B, K) token indices.

    Returns:
        (B, F) int8: 1 seen, 0 absent, -1 present but not seen.
    """
    kept = regions.take_along_dim(keep[:, None], dim=2)
    seen, present = (kept == 1).any(dim=2), (regions == 1).any(dim=2)
    return torch.where(seen, 1, torch.where(present, -1, 0)).to(torch.int8)


def region_targets(counts: Tensor) -> Tensor:
    """Turn voxel counts into token targets.

    A token shows a finding if it holds at least two voxels of it and a fifth of what its fullest token holds (our
    choice). A token with fewer, but not none, is left out of the loss.

    Args:
        counts: (F, N).

    Returns:
        (F, N) int8: 1 shown, 0 not, -1 left out.
    """
    threshold = (counts.amax(dim=1, keepdim=True) * _SHARE_OF_LARGEST).clamp(min=_SMALLEST_VISIBLE_VOXELS)
    shown = counts >= threshold
    return torch.where(shown, 1, torch.where(counts > 0, -1, 0)).to(torch.int8)


def _any_in_patch(mask: Tensor, patch: int) -> Tensor:
    return rearrange(mask, "(x p) (y q) (z r) -> (x y z) (p q r)", p=patch, q=patch, r=patch).any(dim=1)
