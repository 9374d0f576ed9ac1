"""StructureTrainer: fits a structure head on an encoder that is frozen, unless it is told to learn as well.

The tokens are left out at random (set to zero) in half of the volumes, so that the head also learns to see with the
voxels alone and does not lean on features that change from phantoms to patients (our choice).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch import nn

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.dense_model import DenseModel
from colipri_core.model.structure_head import StructureHead
from colipri_training.config import StructureConfig
from colipri_training.data import augment
from colipri_training.data.store import CaseStore
from colipri_training.identity import plain
from colipri_training.identity import weights_sha256
from colipri_training.objectives.outlines import outline_loss
from colipri_training.precision import native_bfloat16
from colipri_training.stage import Stage


class LabelledVolumes(Protocol):
    """Volumes with labels on the model grid."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Return HU, float32 (X, Y, Z), and labels, int64 (X, Y, Z) with 0 the background."""
        ...

    def identity(self) -> dict[str, Any]:
        """Which volumes and labels these are."""
        ...


class Phantoms:
    """The prepared phantoms of a run, as `LabelledVolumes`.

    Args:
        store: Where they lie.
        count: Seeds 0 and up that are used.
        structures: Classes of the head; what has a higher label counts as the first of them, the body.
    """

    def __init__(self, store: CaseStore, *, count: int, structures: int) -> None:
        self._store = store
        self._count = count
        self._structures = structures

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Return HU and labels of a phantom."""
        case = self._store.read(index)
        labels = torch.from_numpy(case.labels.astype(np.int64))
        return torch.from_numpy(case.hu.astype(np.float32)), torch.where(labels > self._structures, 1, labels)

    def identity(self) -> dict[str, Any]:
        """How many: a phantom is told by its seed."""
        return {"phantoms": self._count}


class StructureTrainer(Stage):
    """Fits a head.

    Args:
        config: The run.
        model: The encoder; kept as it is where `config.encoder_share` is 0.
        head: The head to fit.
        volumes: What to learn from.
        folder: Where the log and the checkpoint go.
        validate: Scores model and head as they stand, higher is better; the best-scored state is kept. None keeps the
            last.
    """

    def __init__(
        self,
        config: StructureConfig,
        model: ColipriModel | DenseModel,
        head: StructureHead,
        *,
        volumes: LabelledVolumes,
        folder: Path,
        validate: Callable[[], float] | None = None,
    ) -> None:
        self.config = config
        self.model = model.eval().requires_grad_(False)
        self.head = head
        self._validate = validate
        self._volumes = volumes
        modules: dict[str, nn.Module] = {"head": head}
        encoder = model.image_encoder if isinstance(model, ColipriModel) else model.encoder
        if config.encoder_share:
            modules["encoder"] = encoder.requires_grad_(True)
        peak = config.optimizer.learning_rate
        rates = {"head": peak, "encoder": config.encoder_share * peak}
        super().__init__("structures", config.optimizer, modules, rates, save_every=config.save_every, folder=folder)
        self.identity = {
            "config": plain(config, without=("save_every",)),
            "encoder": weights_sha256(encoder),
            "learned from": volumes.identity(),
        }

    @property
    def best(self) -> float | None:
        """Score of the best state so far; None without validation."""
        return self._kept.get("best")

    def _judge(self) -> dict[str, float]:
        if self._validate is None:
            return {}
        self.head.eval()
        score = self._validate()
        if self.best is None or score > self.best:
            self._kept = {"best": score, "modules": copy.deepcopy(self._weights())}
        return {"dice": round(score, 4)}

    def _finish(self) -> None:
        if self._kept:
            self._take_weights(self._kept["modules"])
        super()._finish()

    def _loss(self, step: int) -> Tensor:
        images, labels, drop = self._batch(step)
        self.head.train()
        with native_bfloat16():
            logits = self.head(images, self._tokens(images, drop))
        return outline_loss(logits.float(), labels)

    def _tokens(self, images: Tensor, drop: Tensor) -> Tensor:
        """The encoder's patch grid of the volumes, zero where it is to be left out."""
        patch = self.model.patch_size
        kept = images[~drop]
        grid = images.new_zeros(len(images), self.model.width, *(edge // patch for edge in images.shape[2:]))
        if len(kept):
            with torch.set_grad_enabled(bool(self.config.encoder_share)):
                grid[~drop] = self.model.image_features(kept).float()
        return grid

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        rng = np.random.default_rng([config.seed, 2, step])
        images, labels = [], []
        for index in rng.integers(0, len(self._volumes), size=config.batch_size):
            hu, label = self._volumes.read(int(index))
            drawn = augment.draw(rng, config.shift_voxels)
            hu = augment.apply_to_image(hu, drawn)
            label = augment.shift(label, drawn.shift, fill=0)
            hu, label = augment.cover(*augment.rescale(hu, label, rng), rng)
            hu, label = _cut(hu, label, config.crop, rng)
            low, high = config.preprocessing.intensity_window
            images.append((augment.bend(hu, rng).clamp(low, high) - low) / (high - low) * 2 - 1)
            labels.append(label)
        drop = torch.from_numpy(rng.random(config.batch_size) < config.token_dropout)
        return torch.stack(images)[:, None], torch.stack(labels), drop


def _cut(
    hu: Tensor, label: Tensor, size: tuple[int, int, int] | None, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A random sub-volume of a phantom and its labels; all of it where the size is None."""
    if size is None:
        return hu, label
    starts = [int(rng.integers(0, length - edge + 1)) for length, edge in zip(hu.shape, size, strict=True)]
    box = tuple(slice(start, start + edge) for start, edge in zip(starts, size, strict=True))
    return hu[box], label[box]


def predict_labels(model: ColipriModel | DenseModel, head: StructureHead, image: Tensor) -> Tensor:
    """Outline one preprocessed volume (1, 1, X, Y, Z); returns its labelmap (X, Y, Z), int64."""
    with torch.inference_mode():
        logits: Tensor = head(image, model.image_features(image))
        return logits.argmax(dim=1)[0]
