"""Batches of a downstream run: crops with labels, or whole sub-volumes with findings; a pure function of the step."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data import augment
from colipri_training.transfer.config import TransferConfig
from colipri_training.transfer.subsets import few_shot
from colipri_training.transfer.targets import labelmap
from colipri_training.transfer.targets import targets_of
from colipri_training.transfer.volumes import SubVolumeStore

_KEPT = 64
_STREAM = 43


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledVolume:
    """A sub-volume with what is to be learned of it.

    Attributes:
        hu: (X, Y, Z) int16.
        labels: (X, Y, Z) uint8, label n is target n - 1.
        findings: (18,) float32, 1 where a finding is shown.
    """

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    findings: npt.NDArray[np.float32]


class TransferBatches:
    """The training batches of a run.

    Args:
        volumes: The sub-volumes.
        config: The run.
        window_hu: Intensities that the encoder was trained on, brought to [-1, 1].

    Attributes:
        cases: Seeds of the sub-volumes whose labels are used.
    """

    def __init__(self, volumes: SubVolumeStore, config: TransferConfig, window_hu: tuple[float, float]) -> None:
        self.cases = few_shot(config.volumes.seeds("train"), config.fraction, seed=config.seed)
        self._volumes = volumes
        self._config = config
        self._window = window_hu
        self._kept: dict[int, LabelledVolume] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return images (B, 1, X, Y, Z), and labels (B, 1, X, Y, Z) int64 or findings (B, 18) of a step."""
        config = self._config
        rng = np.random.default_rng([config.seed, _STREAM, step])
        images, answers = [], []
        for index in rng.integers(0, len(self.cases), size=config.batch_size):
            volume = self._read(self.cases[int(index)])
            if config.task == "segmentation":
                place = draw_crop(volume.labels, config, rng)
                answers.append(torch.from_numpy(volume.labels[place].astype(np.int64))[None])
            else:
                place = (slice(None),) * 3
                answers.append(torch.from_numpy(volume.findings))
            hu = torch.from_numpy(volume.hu[place].astype(np.float32))
            if config.augment:
                hu = augment.apply_to_image(hu, augment.draw(rng, 0))
            images.append(scaled(hu, self._window)[None])
        return torch.stack(images), torch.stack(answers)

    def _read(self, seed: int) -> LabelledVolume:
        """A case; the first ones that are read stay in memory."""
        if seed in self._kept:
            return self._kept[seed]
        volume = read_labelled(self._volumes, seed, self._config)
        if len(self._kept) < _KEPT:
            self._kept[seed] = volume
        return volume


def read_labelled(volumes: SubVolumeStore, seed: int, config: TransferConfig) -> LabelledVolume:
    """Read a sub-volume with the labels of a run."""
    case = volumes.read(seed)
    findings = np.zeros(len(CT_RATE_FINDINGS), dtype=np.float32)
    findings[list(case.present)] = 1
    labels = labelmap(case.labels, case.lesions, targets_of(config.targets))
    return LabelledVolume(hu=case.hu, labels=labels, findings=findings)


def draw_crop(
    labels: npt.NDArray[np.uint8], config: TransferConfig, rng: np.random.Generator
) -> tuple[slice, slice, slice]:
    """Draw where a crop lies: around a voxel of a target that is there, or anywhere.

    Args:
        labels: (X, Y, Z) labelmap of the sub-volume.
        config: The crop's size and how often it shows a target.
        rng: Source of randomness.
    """
    room = np.asarray(labels.shape) - np.asarray(config.crop)
    start = rng.integers(0, room + 1)
    there = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
    wanted = rng.random() < config.foreground
    if wanted and len(there):
        voxels = np.flatnonzero(labels.ravel() == rng.choice(there))
        voxel = np.asarray(np.unravel_index(int(rng.choice(voxels)), labels.shape))
        start = np.clip(voxel - rng.integers(0, config.crop), 0, room)
    x, y, z = (slice(int(begin), int(begin) + edge) for begin, edge in zip(start, config.crop, strict=True))
    return x, y, z


def scaled(hu: Tensor, window_hu: tuple[float, float]) -> Tensor:
    """Clamp HU to a window and bring them to [-1, 1]."""
    low, high = window_hu
    return (hu.clamp(low, high) - low) / (high - low) * 2 - 1
