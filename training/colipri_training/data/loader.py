"""The loader of a pretraining run: mixed batches of random crops from prepared volumes, read ahead in processes.

A batch is a pure function of (seed, step), so the whole state is the next step: a resumed run reads exactly what the
first would have, and N ranks read together what one would. `state_dict` also holds what must not have changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from collections.abc import Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset

from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.prepared import PreparedDataError
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.prepared import Record
from colipri_training.data.prepared import check_apart
from colipri_training.data.prepared import read_crop
from colipri_training.data.sampling import Draw
from colipri_training.data.sampling import Sampler
from colipri_training.data.variation import Change
from colipri_training.data.variation import ReadBox
from colipri_training.data.variation import Reading
from colipri_training.data.variation import Variation
from colipri_training.data.variation import centre_start
from colipri_training.data.variation import draw
from colipri_training.data.variation import in_body
from colipri_training.data.variation import names_side
from colipri_training.data.variation import render
from colipri_training.data.views import Placed
from colipri_training.data.views import SubVolumes
from colipri_training.data.views import read_sub_volumes

UNKNOWN = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """What a run reads.

    Args:
        batch_size: Volumes in a global batch, over all ranks.
        image_only_share: Share of them that is shown without a report; times the batch size a whole number.
        lend_images: Whether volumes with a report also take turns as image-only ones, their report put aside.
        seed: Decides orders, crops and variations.
        variation: How crops are varied.
        workers: Processes that read ahead, for each rank; 0 reads in this one.
        prefetch: Batches each of them keeps ready.
    """

    batch_size: int
    image_only_share: float = 0.5
    lend_images: bool = True
    seed: int = 0
    variation: Variation = dataclasses.field(default_factory=Variation)
    workers: int = 4
    prefetch: int = 2

    @property
    def image_only_batch(self) -> int:
        """Volumes without a report in a global batch.

        Raises:
            ValueError: If the share is none of so many volumes.
        """
        number = self.batch_size * self.image_only_share
        if not 0 <= self.image_only_share <= 1 or abs(number - round(number)) > 1e-6:
            msg = f"A share of {self.image_only_share} of {self.batch_size} volumes is no whole number of them."
            raise ValueError(msg)
        return round(number)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VolumeBatch:
    """A rank's part of a step: P pairs, then M images alone; B = P + M.

    Args:
        step: The step.
        images: float32 (B, 1, X, Y, Z) in [-1, 1]; (B, 1, R, X, Y, Z) if R sub-volumes are read of a volume.
        centres: float32 (B, R, 3), where these lie in the patient's body, see `variation.in_body`; of one crop R is 1.
        reports: The P reports.
        labels: int8 (B, 18), CT-RATE's findings: 1 present, 0 absent, -1 unknown.
        ids: Names of the B volumes.
        patients: Whose they are.
        places: Places of the B volumes in the global batch, to draw for each what does not depend on the ranks.
        groups: int64 (P,); pairs of the same number are not each other's negatives: within the global batch they are
            of one patient, or their reports are the same.
    """

    step: int
    images: Tensor
    centres: Tensor
    reports: tuple[str, ...]
    labels: Tensor
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    places: tuple[int, ...]
    groups: Tensor

    @property
    def pairs(self) -> int:
        """Number of volumes that come with a report: the first ones."""
        return len(self.reports)


class VolumeLoader:
    """Makes the batches of a run.

    Args:
        sources: Prepared data sets, all on the grid of the spec.
        spec: The model grid: crop size, window, and what the volumes must be prepared for.
        config: What to read.
        rank: Which process this is.
        world: How many there are.
        split: Which patients.
        sub_volumes: Read these of a volume, along another axis, rather than one crop.

    Raises:
        PreparedDataError: If a data set lies on another grid, or a patient is in different splits of two.
        ValueError: If a data set is named twice, there are too few volumes for a batch, or ranks cannot share it.
    """

    def __init__(
        self,
        sources: Sequence[PreparedVolumes],
        spec: PreprocessSpec,
        config: LoaderConfig,
        *,
        rank: int = 0,
        world: int = 1,
        split: str = "train",
        sub_volumes: SubVolumes | None = None,
    ) -> None:
        for source in sources:
            source.check_grid(spec)
        check_apart(sources)
        self.step = 0
        self._rank, self._world = rank, world
        self._config = config
        volumes = [(s.folder, volume) for s in sources for volume in s.volumes if volume.split == split]
        paired = [pair for pair in volumes if pair[1].report is not None]
        alone = volumes if config.lend_images else [pair for pair in volumes if pair[1].report is None]
        self._volumes = {True: [volume for _, volume in paired], False: [volume for _, volume in alone]}
        self._crops = _Crops(paired=paired, alone=alone, spec=spec, config=config, sub_volumes=sub_volumes)
        self._sampler = Sampler(
            paired=len(paired),
            image_only=len(alone),
            paired_batch=config.batch_size - config.image_only_batch,
            image_only_batch=config.image_only_batch,
            seed=config.seed,
        )
        self._sampler.draws(0, rank=rank, world=world)

    def batch(self, step: int) -> VolumeBatch:
        """Make this rank's part of any step, in this process."""
        draws = self._sampler.draws(step, rank=self._rank, world=self._world)
        return self._batch(*_collate(self._crops.__getitems__(draws)))

    def __iter__(self) -> Iterator[VolumeBatch]:
        """Yield batches from `step` on, without end; `step` is the next one's number whenever a batch is out."""
        if self._config.workers == 0:
            while True:
                batch = self.batch(self.step)
                self.step += 1
                yield batch
        loader = DataLoader(
            self._crops,
            batch_sampler=_Steps(self._sampler, self.step, self._rank, self._world),
            collate_fn=_collate,
            num_workers=self._config.workers,
            prefetch_factor=self._config.prefetch,
            multiprocessing_context="spawn",
            worker_init_fn=_start_worker,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else it would draw from the run's own randomness
        )
        for draws, read in loader:
            self.step += 1
            yield self._batch(draws, read)

    def state_dict(self) -> dict[str, Any]:
        """The next step, and what must be the same for it to be the same batch."""
        return {"step": self.step, "fingerprint": self.fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another loader was; the number of ranks and workers may differ.

        Raises:
            PreparedDataError: If data, mixture or seed have changed, so that the batches would be others.
        """
        if state["fingerprint"] != self.fingerprint:
            msg = (
                "The checkpoint was made with other volumes, reports, batch size, mixture, variation or seed. "
                "Resume with the same ones, or start a new run."
            )
            raise PreparedDataError(msg)
        self.step = int(state["step"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides the batches."""
        config = dataclasses.replace(self._config, workers=0, prefetch=2)
        digest = hashlib.sha256(repr((config, self._crops.spec)).encode())
        if self._crops.sub_volumes is not None:
            digest.update(repr(self._crops.sub_volumes).encode())
        for is_paired in (True, False):
            for volume in self._volumes[is_paired]:
                digest.update(f"{volume.id} {volume.record.voxels_sha256} {volume.report}\n".encode())
        return digest.hexdigest()

    def _batch(self, draws: Sequence[Draw], read: Reading) -> VolumeBatch:
        volumes = [self._volumes[drawn.is_paired][drawn.index] for drawn in draws]
        pairs = sum(drawn.is_paired for drawn in draws)
        labels = [[volume.labels.get(name, UNKNOWN) for name in CT_RATE_FINDINGS] for volume in volumes]
        return VolumeBatch(
            step=draws[0].step,
            images=read.images[:, None],
            centres=read.centres,
            reports=tuple(volume.report or "" for volume in volumes[:pairs]),
            labels=torch.tensor(labels, dtype=torch.int8),
            ids=tuple(volume.id for volume in volumes),
            patients=tuple(volume.patient for volume in volumes),
            places=tuple(drawn.position for drawn in draws),
            groups=self._groups(draws[0].step)[[drawn.position for drawn in draws[:pairs]]],
        )

    def _groups(self, step: int) -> Tensor:
        """Groups of the pairs of the whole global batch, which every rank can tell."""
        drawn = [self._volumes[True][one.index] for one in self._sampler.draws(step) if one.is_paired]
        return torch.tensor(groups_of([(volume.patient, volume.report or "") for volume in drawn]), dtype=torch.int64)


def groups_of(pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Number volumes so that those of one patient, or with the same report, directly or by way of others, are alike.

    Args:
        pairs: Patient and report of each volume.
    """
    groups = list(range(len(pairs)))
    first: dict[tuple[str, str], int] = {}
    for place, (patient, report) in enumerate(pairs):
        for key in (("patient", patient), ("report", " ".join(report.lower().split()))):
            other, own = groups[first.setdefault(key, place)], groups[place]
            groups = [other if group == own else group for group in groups]
    return groups


def model_input(source: PreparedVolumes, volume: PreparedVolume, spec: PreprocessSpec) -> Tensor:
    """Read a volume as inference would see it: the centre crop, unchanged, for evaluation.

    Args:
        source: Where it lies.
        volume: Which.
        spec: The model grid.

    Returns:
        float32 (X, Y, Z) in [-1, 1].

    Raises:
        PreparedDataError: If the volumes lie on another grid, or the file is damaged.
    """
    source.check_grid(spec)
    change = Change(start=centre_start(volume.record.shape, spec.size))
    return _read_image(source.folder / volume.file, volume.record, change, spec)


def _read_image(path: Path, record: Record, change: Change, spec: PreprocessSpec) -> Tensor:
    axis = next(axis for axis, letter in enumerate(spec.orientation) if letter in "RL")
    read = _box_reader(path, record, spec)
    return render(read, change, spec.size, mirror_axis=axis, window=spec.intensity_window)


def _box_reader(path: Path, record: Record, spec: PreprocessSpec) -> ReadBox:
    low, high = spec.intensity_window
    fill = record.minimum_hu if spec.padding == "minimum" else round(low + (spec.padding + 1) / 2 * (high - low))

    def read(start: tuple[int, int, int], size: tuple[int, int, int]) -> npt.NDArray[np.int16]:
        return read_crop(path, start, size, fill=fill)

    return read


Located = tuple[Path, PreparedVolume]


class _Crops(Dataset[Reading]):
    """Reads the crop of a draw. It travels to every worker, so it holds neither reports nor labels."""

    def __init__(
        self,
        *,
        paired: Sequence[Located],
        alone: Sequence[Located],
        spec: PreprocessSpec,
        config: LoaderConfig,
        sub_volumes: SubVolumes | None = None,
    ) -> None:
        self.spec = spec
        self.sub_volumes = sub_volumes
        self._variation = config.variation
        self._seed = config.seed
        self._volumes = {
            True: [_slim(folder, volume, may_mirror=self._may_mirror(volume)) for folder, volume in paired],
            False: [_slim(folder, volume, may_mirror=True) for folder, volume in alone],
        }

    def _may_mirror(self, volume: PreparedVolume) -> bool:
        return self._variation.mirror_sideless_reports and not names_side(volume.report or "")

    def __getitem__(self, drawn: Draw) -> Reading:
        path, record, may_mirror = self._volumes[drawn.is_paired][drawn.index]
        seed = [self._seed, 3, drawn.step, drawn.position]
        if self.sub_volumes is not None:
            return read_sub_volumes(
                _box_reader(path, record, self.spec),
                lambda change: _read_image(path, record, change, self.spec),
                Placed(record=record, size=self.spec.size, variation=self._variation),
                self.sub_volumes,
                seed,
            )
        change = draw(record, self.spec.size, self._variation, seed, may_mirror=may_mirror)
        centre = torch.tensor([in_body(record, change.start, self.spec.size)])
        return Reading(_read_image(path, record, change, self.spec), centre)

    def __getitems__(self, draws: list[Draw]) -> list[tuple[Draw, Reading]]:
        return [(drawn, self[drawn]) for drawn in draws]


def _slim(folder: Path, volume: PreparedVolume, *, may_mirror: bool) -> tuple[Path, Record, bool]:
    return folder / volume.file, dataclasses.replace(volume.record, notes=()), may_mirror


class _Steps:
    """Draws of one step after another, from a step on."""

    def __init__(self, sampler: Sampler, first: int, rank: int, world: int) -> None:
        self._sampler, self._first, self._rank, self._world = sampler, first, rank, world

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in count(self._first):
            yield self._sampler.draws(step, rank=self._rank, world=self._world)


def _collate(crops: list[tuple[Draw, Reading]]) -> tuple[list[Draw], Reading]:
    draws, read = zip(*crops, strict=True)
    images, centres = zip(*read, strict=True)
    return list(draws), Reading(torch.stack(images), torch.stack(centres))


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    blosc2.set_nthreads(1)
