"""StructureTrainer: fits a structure head on an encoder that is frozen, unless it is told to learn as well.

The tokens are left out at random (set to zero) in half of the volumes, so that the head also learns to see with the
voxels alone and does not lean on features that change from phantoms to patients (our choice).
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import Protocol

import numpy as np
import torch
from einops import rearrange
from monai.losses import DiceCELoss
from torch import Tensor
from torch import nn

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.dense_model import DenseModel
from colipri_core.model.structure_head import StructureHead
from colipri_training.config import StructureConfig
from colipri_training.data import augment
from colipri_training.data.store import CaseStore
from colipri_training.optimizers import schedule

logger = logging.getLogger(__name__)

_CHECKPOINT = "structures.pt"


class LabelledVolumes(Protocol):
    """Volumes with labels on the model grid."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Return HU, float32 (X, Y, Z), and labels, int64 (X, Y, Z) with 0 the background."""
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


class StructureTrainer:
    """Fits a head; a pure function of the step, like `Trainer`.

    Args:
        config: The run.
        model: The encoder; kept as it is where `config.encoder_share` is 0.
        head: The head to fit.
        volumes: What to learn from.
        folder: Where the log and the checkpoint go.
        validate: Scores model and head as they stand, higher is better; the best-scored state is kept. None keeps the
            last.

    Attributes:
        step: Steps done.
        best: Score of the best state so far; None without validation.
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
        self.folder = folder
        self.step = 0
        self.best: float | None = None
        self._kept: dict[str, Any] | None = None
        self._validate = validate
        self._volumes = volumes
        self._loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=True)
        self._modules: dict[str, nn.Module] = {"head": head}
        if config.encoder_share:
            encoder = model.image_encoder if isinstance(model, ColipriModel) else model.encoder
            self._modules["encoder"] = encoder.requires_grad_(True)
        rates = {"head": config.optimizer.learning_rate, "encoder": self._encoder_rate}
        groups = [{"params": module.parameters(), "lr": rates[name]} for name, module in self._modules.items()]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=config.optimizer.weight_decay)
        for group in self.optimizer.param_groups:
            group["peak"] = group["lr"]
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def _encoder_rate(self) -> float:
        return self.config.encoder_share * self.config.optimizer.learning_rate

    def run(self) -> None:
        """Train until the last step, with checkpoints on the way; then the modules hold the state that is kept."""
        last = self.config.optimizer.steps
        while self.step < last:
            started = time.perf_counter()
            record: dict[str, float] = {"loss": round(self._train_step(), 5)}
            self.step += 1
            saves = self.step % self.config.save_every == 0 or self.step == last
            if saves and self._validate is not None:
                record["dice"] = round(self._judge(self._validate), 4)
            self._write({"step": self.step, **record, "seconds": round(time.perf_counter() - started, 3)})
            if saves:
                self.save()
        self._take_kept()

    def save(self) -> None:
        """Write the checkpoint atomically."""
        place = self.folder / _CHECKPOINT
        partial = place.with_suffix(".partial")
        state = {"step": self.step, "best": self.best, "kept": self._kept, "optimizer": self.optimizer.state_dict()}
        torch.save({**state, **self._state()}, partial)
        partial.replace(place)

    def resume(self) -> bool:
        """Load the checkpoint if there is one, and say whether there was.

        Raises:
            ValueError: If it is of a run that trained other parts of the model.
        """
        place = self.folder / _CHECKPOINT
        if not place.is_file():
            return False
        state = torch.load(place, map_location="cpu", weights_only=True)
        if ("encoder" in state) != ("encoder" in self._modules):
            msg = f"The checkpoint in {self.folder.name} trained other parts of the model; start in an empty folder."
            raise ValueError(msg)
        for name, module in self._modules.items():
            module.load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self._kept = state["step"], state.get("best"), state.get("kept")
        if self.step >= self.config.optimizer.steps:
            self._take_kept()
        return True

    def _state(self) -> dict[str, Any]:
        return {name: module.state_dict() for name, module in self._modules.items()}

    def _judge(self, validate: Callable[[], float]) -> float:
        self.head.eval()
        score = validate()
        if self.best is None or score > self.best:
            self.best, self._kept = score, copy.deepcopy(self._state())
        return score

    def _take_kept(self) -> None:
        for name, state in (self._kept or {}).items():
            self._modules[name].load_state_dict(state)
        self.head.eval()

    def _write(self, record: dict[str, float]) -> None:
        with (self.folder / "structures.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        logger.info("structures %s", " ".join(f"{name} {value:g}" for name, value in record.items()))

    def _train_step(self) -> float:
        images, labels, drop = self._batch(self.step)
        self.head.train()
        with torch.autocast("cpu", torch.bfloat16):
            with torch.inference_mode(not self.config.encoder_share):
                tokens = self.model.image_features(images)
            kept = torch.where(rearrange(drop, "b -> b 1 1 1 1"), 0.0, tokens.float())
            logits = self.head(images, kept)
        loss = self._loss(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.config.optimizer.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule(self.step, self.config.optimizer) * group["peak"]
        self.optimizer.step()
        return float(loss.item())

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        rng = np.random.default_rng([config.seed, 2, step])
        images, labels = [], []
        for index in rng.integers(0, len(self._volumes), size=config.batch_size):
            hu, label = self._volumes.read(int(index))
            drawn = augment.draw(rng, config.shift_voxels)
            hu = augment.apply_to_image(hu, drawn)
            label = augment.shift(label, drawn.shift, fill=0)
            hu, label = _cut(*augment.rescale(hu, label, rng), config.crop, rng)
            low, high = config.preprocessing.intensity_window
            images.append((augment.bend(hu, rng).clamp(low, high) - low) / (high - low) * 2 - 1)
            labels.append(label)
        drop = torch.from_numpy(rng.random(config.batch_size) < config.token_dropout)
        return torch.stack(images)[:, None], torch.stack(labels)[:, None], drop


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
