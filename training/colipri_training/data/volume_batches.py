"""Batches of prepared volumes: what the loader reads, with its reports as the texts that the objectives need.

Everything drawn for a volume is seeded by (seed, step, place in the global batch), so a step is the same whatever the
number of processes. Volumes without report go to reconstruction alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.language.sections import findings_and_impression
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.config import PretrainConfig
from colipri_training.data.batch import Batch
from colipri_training.data.batch import Text
from colipri_training.data.batches import Tokenize
from colipri_training.data.batches import choose_tokens
from colipri_training.data.loader import LoaderConfig
from colipri_training.data.loader import VolumeBatch
from colipri_training.data.loader import VolumeLoader
from colipri_training.data.sentences import StatementPair
from colipri_training.data.sentences import StatementPool
from colipri_training.data.sentences import draw_pairs
from colipri_training.data.sentences import draw_text

_AIR_HU = -500.0
"""A patch whose densest voxel is below belongs to the air around the body, or to lung."""

_TEXT, _TOKENS, _STATEMENTS = 4, 5, 6
"""Streams of randomness; the loader and the phantoms have those below."""


def loader_config(config: PretrainConfig) -> LoaderConfig:
    """What the loader of a run reads."""
    data = config.data
    volumes = data.batch_size + data.unpaired
    return LoaderConfig(
        batch_size=volumes,
        image_only_share=data.unpaired / volumes,
        lend_images=data.volumes.lend_images,
        seed=config.seed,
        variation=data.volumes.variation,
        workers=config.compute.workers,
        prefetch=config.compute.prefetch,
    )


class VolumeBatches:
    """This process's part of the batch of any step; reads ahead as long as steps follow one another.

    Args:
        loader: Reads the volumes.
        config: The run.
        pool: What the training reports affirm; needed where opposite sentences have a weight.
        tokenize: The run's tokenizer.

    Raises:
        ValueError: If an objective needs what no data set has.
    """

    def __init__(
        self, loader: VolumeLoader, config: PretrainConfig, pool: StatementPool | None, tokenize: Tokenize
    ) -> None:
        _check(config, pool)
        self._loader = loader
        self._config = config
        self._pool = pool
        self._tokenize = tokenize
        self._ahead: Iterator[VolumeBatch] | None = None

    def __call__(self, step: int) -> Batch:
        """Make the batch of a step."""
        read = self._read(step)
        images = read.images[: read.pairs]
        keep = self._keep(images, read)
        statements, holds = self._statements(read)
        return Batch(
            images=images,
            keep=keep,
            findings=read.labels[: read.pairs],
            regions=torch.full((), -1, dtype=torch.int8).expand(read.pairs, len(CT_RATE_FINDINGS), keep.shape[1]),
            reports=self._reports(read),
            affirming=None,
            denying=None,
            targets=self._targets(read),
            unpaired=read.images[read.pairs :] if self._config.data.unpaired else None,
            statements=statements,
            holds=holds,
            groups=read.groups,
        )

    def state_dict(self) -> dict[str, Any]:
        """The loader's next step, and the hash of all that decides what it reads."""
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another run was.

        Raises:
            PreparedDataError: If the data sets, the mixture or the variation are others.
        """
        self._loader.load_state_dict(state)
        self._ahead = None

    def _read(self, step: int) -> VolumeBatch:
        if self._ahead is None or self._loader.step != step:
            self._loader.step = step
            self._ahead = iter(self._loader)
        return next(self._ahead)

    def _draw(self, stream: int, read: VolumeBatch, row: int) -> np.random.Generator:
        return np.random.default_rng([self._config.seed, stream, read.step, read.places[row]])

    def _keep(self, images: Tensor, read: VolumeBatch) -> Tensor:
        data, patch = self._config.data, self._config.model.image.patch_size
        low, high = self._config.preprocessing.intensity_window
        densest = rearrange(F.max_pool3d(images, patch), "b 1 x y z -> b (x y z)")
        tokens = densest.shape[1]
        if data.tokens >= tokens:
            return torch.arange(tokens).expand(len(images), -1)
        inside = densest > 2 * (_AIR_HU - low) / (high - low) - 1
        nowhere = torch.zeros(1, len(CT_RATE_FINDINGS), tokens, dtype=torch.int8)
        rows = []
        for row in range(len(images)):
            seed = int(self._draw(_TOKENS, read, row).integers(1 << 62))
            generator = torch.Generator().manual_seed(seed)
            rows.append(choose_tokens(nowhere, inside[row : row + 1], data, generator))
        return torch.cat(rows)

    def _reports(self, read: VolumeBatch) -> Text:
        options = self._config.data.volumes.text
        texts = [
            draw_text(report, self._draw(_TEXT, read, row), options=options) or report
            for row, report in enumerate(read.reports)
        ]
        return self._tokenize(texts, self._config.data.max_report_length)

    def _targets(self, read: VolumeBatch) -> Text | None:
        if self._config.report is None or not self._config.loss.report:
            return None
        return self._tokenize([plain_text(report) for report in read.reports], self._config.report.max_length)

    def _statements(self, read: VolumeBatch) -> tuple[Text, Tensor] | tuple[None, None]:
        if self._pool is None:
            return None, None
        count = self._config.data.volumes.statements
        texts: list[str] = []
        holds = torch.full((read.pairs, count), -1, dtype=torch.int8)
        for row, report in enumerate(read.reports):
            pairs = draw_pairs(report, self._pool, self._draw(_STATEMENTS, read, row), count=count)
            holds[row, : len(pairs)] = torch.tensor([pair.holds for pair in pairs], dtype=torch.int8)
            texts += _padded(pairs, count)
        ids, mask = self._tokenize(texts, self._config.data.max_sentence_length)
        by_volume = "(b s) l -> b s l"
        return (rearrange(ids, by_volume, s=2 * count), rearrange(mask, by_volume, s=2 * count)), holds


def plain_text(report: str) -> str:
    """Findings and impression as they were written, in full and in order; the whole report where it has neither."""
    return " ".join(part for part in findings_and_impression(report) if part) or report


def _padded(pairs: tuple[StatementPair, ...], count: int) -> list[str]:
    """The statements, then their opposites, each filled up with empty texts."""
    fill = [""] * (count - len(pairs))
    return [*(pair.text for pair in pairs), *fill, *(pair.opposite for pair in pairs), *fill]


def _check(config: PretrainConfig, pool: StatementPool | None) -> None:
    loss = config.loss
    if loss.region or loss.attention or loss.distinct or config.sentence_steps:
        msg = (
            "loss.region, loss.attention, loss.distinct and sentence_steps need what only phantoms have: lesion masks "
            f'and sentences with labels. Set them to 0, or take a variant of the recipe "{config.name}", such as -crm.'
        )
        raise ValueError(msg)
    if config.loss.opposite and pool is None:
        msg = "loss.opposite has a weight, so what the training reports affirm is needed, got None"
        raise ValueError(msg)
