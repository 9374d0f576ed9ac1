"""Batches as a pure function of the step, so that a resumed run reads exactly what the first would have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.config import PretrainConfig
from colipri_training.data import augment
from colipri_training.data.store import CaseStore
from colipri_training.data.store import StoredCase
from colipri_training.data.text import SentenceBank
from colipri_training.data.text import shorten

Tokenize = Callable[[list[str], int], tuple[Tensor, Tensor]]
"""Texts and longest length to (ids, mask)."""

_NUM_FINDINGS = len(CT_RATE_FINDINGS)
_SMALLEST_VISIBLE_VOXELS = 2
_SHARE_OF_LARGEST = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Inputs of one step. B volumes, N tokens of a volume, K kept tokens, F findings, P sentence pairs a finding.

    Args:
        images: (B, 1, X, Y, Z), values in [-1, 1].
        keep: (B, K) indices of the encoded tokens.
        findings: (B, F) 1 where a kept token shows the finding, 0 where the volume lacks it, -1 where only tokens that
            were dropped show it.
        regions: (B, F, K) 1 where a kept token shows the finding, 0 where not, -1 where it can hardly be told.
        reports: (ids, mask) of one report a volume.
        affirming: (ids, mask) of P*F affirming sentences, finding by finding within a pair set.
        denying: (ids, mask) of their opposites, in the same order.
    """

    images: Tensor
    keep: Tensor
    findings: Tensor
    regions: Tensor
    reports: tuple[Tensor, Tensor]
    affirming: tuple[Tensor, Tensor]
    denying: tuple[Tensor, Tensor]


class BatchMaker:
    """Makes the batch of any step.

    Args:
        store: The prepared cases.
        config: The run.
        bank: Sentences of the training reports.
        tokenize: The run's tokenizer.
    """

    pairs = 2

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
        keep = self._keep(torch.stack([inside for _, inside in shown]), step)
        regions = torch.stack([region for region, _ in shown])
        return Batch(
            images=images[:, None],
            keep=keep,
            findings=finding_targets(regions, keep),
            regions=regions.take_along_dim(keep[:, None], dim=2),
            reports=self._reports(cases, rng),
            **self._sentences(rng),
        )

    def _shuffled(self, epoch: int) -> np.ndarray:
        """Order of the cases in an epoch; the first goes by seed, so that a run can start while cases are prepared."""
        if epoch == 0:
            return np.arange(self._config.data.train_cases)
        return np.random.default_rng([self._config.seed, 0, epoch]).permutation(self._config.data.train_cases)

    def _image(self, case: StoredCase, drawn: augment.Augmentation) -> Tensor:
        hu = augment.apply_to_image(torch.from_numpy(case.hu.astype(np.float32)), drawn)
        low, high = self._config.preprocessing.intensity_window
        return (hu.clamp(low, high) - low) / (high - low) * 2 - 1

    def _regions(self, case: StoredCase, drawn: augment.Augmentation) -> tuple[Tensor, Tensor]:
        patch = self._config.model.image.patch_size
        lesions = augment.shift(torch.from_numpy(case.lesions), drawn.shift, fill=0)
        counts = count_findings(lesions, case.present, patch)
        inside = augment.shift(torch.from_numpy(case.labels), drawn.shift, fill=0) > 0
        return region_targets(counts), _patch_sums(inside.float(), patch) > 0

    def _keep(self, inside: Tensor, step: int) -> Tensor:
        """Choose tokens at random, those in the body first."""
        data, steps = self._config.data, self._config.optimizer.steps
        masked = step < (1 - data.unmasked_share) * steps
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)
        score = torch.rand(inside.shape, generator=generator) + inside
        size = min(int(inside.sum(dim=1).max()), data.masked_tokens if masked else data.max_tokens)
        return score.topk(size, dim=1).indices.sort(dim=1).values

    def _reports(self, cases: list[StoredCase], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        texts = [shorten([sentence.text for sentence in case.sentences], rng) for case in cases]
        return self._tokenize(texts, self._config.data.max_report_length)

    def _sentences(self, rng: np.random.Generator) -> dict[str, tuple[Tensor, Tensor]]:
        drawn = [self._bank.draw_pairs(rng) for _ in range(self.pairs)]
        length = self._config.data.max_sentence_length
        affirming = [text for texts, _ in drawn for text in texts]
        denying = [text for _, texts in drawn for text in texts]
        return {"affirming": self._tokenize(affirming, length), "denying": self._tokenize(denying, length)}


def count_findings(lesions: Tensor, present: tuple[int, ...], patch: int) -> Tensor:
    """Count the voxels of each finding in each patch.

    Args:
        lesions: int32 bit field (X, Y, Z).
        present: Findings that occur at all.
        patch: Edge of a patch in voxels.

    Returns:
        (F, N) float, tokens in row-major order.
    """
    tokens = int(np.prod([size // patch for size in lesions.shape]))
    counts = torch.zeros(_NUM_FINDINGS, tokens)
    for finding in present:
        counts[finding] = _patch_sums(((lesions >> finding) & 1).float(), patch)
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


def _patch_sums(array: Tensor, patch: int) -> Tensor:
    sums = F.avg_pool3d(array[None, None], patch) * patch**3
    return rearrange(sums, "1 1 x y z -> (x y z)")
