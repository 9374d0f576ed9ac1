"""StemTrainer: teaches the maps of a stem what the lesions of phantoms look like, before the encoder is trained.

A report says little of a nodule of a few voxels, and a whole volume has room for millions of things that are none;
the contrast of volumes and reports alone finds such lesions late or never. The masks of phantoms come for free, so the
stem learns them first, on crops. Our choice; none of it is part of the published system.
"""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.model.encoder import PatchEmbedding
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.config import StemConfig
from colipri_training.data import augment
from colipri_training.data.lesion_crops import LesionCrops
from colipri_training.data.store import CaseStore
from colipri_training.precision import native_bfloat16
from colipri_training.stage import Stage

STEM_STAGE = "stem"
_HARD_SHARE = 0.003
"""Share of a step's cells that count as the hardest negatives of a finding (our choice)."""
_WHOLE = 128
"""Phantoms whose peaks tell what is usual (our choice)."""


class StemTrainer(Stage):
    """Fits the maps of a stem, one a finding, to the lesion masks of phantoms.

    Args:
        config: The run.
        embedding: Its stem is trained in place; it must have a map for each finding.
        store: The phantoms.
        folder: Where the log and the checkpoint go.

    Raises:
        ValueError: If the stem has other maps.
    """

    def __init__(self, config: StemConfig, embedding: PatchEmbedding, *, store: CaseStore, folder: Path) -> None:
        stem, wanted = embedding.stem, len(CT_RATE_FINDINGS)
        found = 0 if stem is None or stem.maps is None else stem.maps[-1].out_channels
        if stem is None or found != wanted:
            msg = f"Expected a stem with a map for each of {wanted} findings, found {found}; set model.image.stem_maps."
            raise ValueError(msg)
        self.stem = stem.train()
        self._embedding = embedding
        self._store, self._cases, self._window = store, config.train_cases, config.preprocessing.intensity_window
        self._crops = LesionCrops(store, config)
        self._reader = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[tuple[Tensor, Tensor]]] | None = None
        rates = {STEM_STAGE: config.optimizer.learning_rate}
        modules = {STEM_STAGE: stem}
        super().__init__(STEM_STAGE, config.optimizer, modules, rates, save_every=config.save_every, folder=folder)
        stem.learn_statistics(True)

    def _loss(self, step: int) -> Tensor:
        images, targets = self._batch(step)
        with native_bfloat16():
            logits = self.stem.draw(self._embedding.channels(images))
        return lesion_loss(logits.float().flatten(2), targets)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The crops of a step; those of the next one are read meanwhile."""
        waiting = self._next
        batch = waiting[1].result() if waiting and waiting[0] == step else self._crops(step)
        self._next = step + 1, self._reader.submit(self._crops, step + 1)
        return batch

    def _judge(self) -> dict[str, float]:
        """Learn, after the last step, how high the maps of whole phantoms rise."""
        if self.done:
            self.stem.learn_statistics(False)
            self.stem.learn_peaks(torch.stack([self._peaks(seed) for seed in range(min(_WHOLE, self._cases))]))
        return {}

    @torch.no_grad()
    def _peaks(self, seed: int) -> Tensor:
        """The largest value of each map of a phantom."""
        hu = torch.from_numpy(self._store.read(seed).hu).float()
        image = rearrange(augment.to_unit(hu, self._window), "x y z -> 1 1 x y z")
        return self.stem.draw(self._embedding.channels(image)).amax(dim=(0, 2, 3, 4))

    def _finish(self) -> None:
        self._reader.shutdown(cancel_futures=True)
        self.stem.learn_statistics(False)
        super()._finish()


def lesion_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of cells in which every finding, crop and side weighs the same.

    L = (mean over findings f of mean over crops that show f of mean over its cells of -log p
        + (mean over the cells without f + mean over the hardest of those in the whole step) / 2) / 2.

    Args:
        logits: (N, F, M).
        targets: (N, F, M) as `cell_targets` gives them.

    Returns:
        A scalar.
    """
    shown = targets == 1
    counts = shown.sum(dim=2)
    per_crop = (F.softplus(-logits) * shown).sum(dim=2) / counts.clamp(min=1)
    crops = (counts > 0).sum(dim=0)
    positive = (per_crop.sum(dim=0) / crops.clamp(min=1)).sum() / (crops > 0).sum().clamp(min=1)
    others = F.softplus(logits).masked_fill(targets != 0, 0.0).transpose(0, 1).flatten(1)
    hardest = others.topk(max(1, round(_HARD_SHARE * others.shape[1])), dim=1).values
    return (positive + (others.mean() + hardest.mean()) / 2) / 2
