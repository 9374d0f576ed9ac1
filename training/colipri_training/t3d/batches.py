"""Batches of a T3D run: sub-volumes that the loader reads, with their reports as text.

Everything drawn for a scan is seeded by (seed, step, place in the global batch), so a step is the same whatever the
number of processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from einops import rearrange

from colipri_core.language.sections import findings_and_impression
from colipri_core.language.sentences import distinct
from colipri_core.language.sentences import split_sentences
from colipri_training.data.batch import Text
from colipri_training.data.batches import Tokenize
from colipri_training.data.loader import LoaderConfig
from colipri_training.data.loader import VolumeBatch
from colipri_training.data.loader import VolumeLoader
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.sentences import draw_text
from colipri_training.distributed import World
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.config import T3DConfig

_TEXT, _SENTENCES = 4, 5


def t3d_loader(
    sources: Sequence[PreparedVolumes], config: T3DConfig, world: World, *, split: str = "train", batch_size: int = 0
) -> VolumeLoader:
    """The loader of a run, which reads sub-volumes only.

    Args:
        sources: Prepared data sets at the run's spacing.
        config: The run.
        world: The processes.
        split: Which patients.
        batch_size: Scans of a global batch; 0 for the run's.

    Raises:
        PreparedDataError: If a data set lies on another grid.
        ValueError: If there are too few scans with a report.
    """
    reads = LoaderConfig(
        batch_size=batch_size or config.data.batch_size,
        image_only_share=0.0,
        seed=config.seed,
        variation=config.data.variation,
        workers=config.compute.workers if split == "train" else 0,
        prefetch=config.compute.prefetch,
    )
    spec = dataclasses.replace(config.preprocessing, size=config.data.crop)
    return VolumeLoader(
        sources, spec, reads, rank=world.rank, world=world.size, split=split, sub_volumes=config.sub_volumes
    )


class T3DBatches:
    """This process's part of the batch of any step; reads ahead as long as steps follow one another.

    Args:
        loader: From `t3d_loader`.
        config: The run.
        tokenize: The run's tokenizer.
    """

    def __init__(self, loader: VolumeLoader, config: T3DConfig, tokenize: Tokenize) -> None:
        self._loader = loader
        self._config = config
        self._tokenize = tokenize
        self._ahead: Iterator[VolumeBatch] | None = None

    def __call__(self, step: int) -> T3DBatch:
        """Make the batch of a step."""
        return self.made_of(self._read(step))

    def made_of(self, read: VolumeBatch) -> T3DBatch:
        """Make a batch of what the loader read."""
        images = rearrange(read.images, "b 1 r x y z -> b r x y z")
        views = self._config.sub_volumes.views.count
        is_corrupted = self._config.sub_volumes.corruption is not None
        return T3DBatch(
            images=images[:, :views],
            centres=read.centres[:, :views],
            corrupted=images[:, views] if is_corrupted else None,
            reports=self.reports(read),
            sentences=self._sentences(read) if self._config.loss.consistency else None,
            groups=read.groups,
            ids=read.ids,
        )

    def reports(self, read: VolumeBatch, instead: Mapping[str, str] | None = None) -> Text:
        """The texts of a batch.

        Args:
            read: What the loader read.
            instead: Other reports by the scans' names.
        """
        data = self._config.data
        texts = []
        for row, report in enumerate(read.reports):
            said = report if instead is None else instead[read.ids[row]]
            texts.append(draw_text(said, self._draw(_TEXT, read, row), options=data.text) or said)
        return self._tokenize(texts, data.max_report_length)

    def state_dict(self) -> dict[str, Any]:
        """The loader's next step, and the hash of all that decides what it reads."""
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another run was.

        Raises:
            PreparedDataError: If the data sets, the sub-volumes or the variation are others.
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

    def _sentences(self, read: VolumeBatch) -> Text:
        """Some sentences of each report, filled up with empty texts, whose masks are set to 0."""
        count, texts, known = self._config.data.sentences, [], []
        for row, report in enumerate(read.reports):
            parts = [part for part in findings_and_impression(report) if part] or [report]
            said = distinct(sentence for part in parts for sentence in split_sentences(part))
            order = self._draw(_SENTENCES, read, row).permutation(len(said))[:count]
            texts += [said[index] for index in order] + [""] * (count - len(order))
            known += [True] * len(order) + [False] * (count - len(order))
        ids, mask = self._tokenize(texts, self._config.data.max_sentence_length)
        for place, is_known in enumerate(known):
            if not is_known:
                mask[place] = 0
        return rearrange(ids, "(b s) l -> b s l", s=count), rearrange(mask, "(b s) l -> b s l", s=count)
