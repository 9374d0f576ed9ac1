"""StructureTrainer: fits a structure head on a frozen encoder.

The tokens are left out at random (set to zero) in half of the volumes, so that the head also learns to see with the
voxels alone and does not lean on features that change from phantoms to patients (our choice).
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from monai.losses import DiceCELoss
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.dense_model import DenseModel
from colipri_core.model.structure_head import StructureHead
from colipri_training.config import StructureConfig
from colipri_training.data import augment
from colipri_training.data.store import CaseStore
from colipri_training.optimizers import schedule

logger = logging.getLogger(__name__)


class StructureTrainer:
    """Fits a head; a pure function of the step, like `Trainer`.

    Args:
        config: The run.
        model: The encoder, kept as it is.
        head: The head to fit.
        store: Prepared phantoms.
        folder: Where the log and the checkpoint go.
    """

    def __init__(
        self,
        config: StructureConfig,
        model: ColipriModel | DenseModel,
        head: StructureHead,
        *,
        store: CaseStore,
        folder: Path,
    ) -> None:
        self.config = config
        self.model = model.eval().requires_grad_(False)
        self.head = head
        self.folder = folder
        self.step = 0
        self._store = store
        self._loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=True)
        self.optimizer = torch.optim.AdamW(
            head.parameters(), lr=config.optimizer.learning_rate, weight_decay=config.optimizer.weight_decay
        )
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Train until the last step, with checkpoints on the way."""
        while self.step < self.config.optimizer.steps:
            started = time.perf_counter()
            loss = self._train_step()
            self.step += 1
            record = {"step": self.step, "loss": round(loss, 5), "seconds": round(time.perf_counter() - started, 3)}
            with (self.folder / "structures.jsonl").open("a") as stream:
                stream.write(json.dumps(record) + "\n")
            logger.info("structures step %(step)d loss %(loss).4f %(seconds).2f s", record)
            if self.step % self.config.save_every == 0 or self.step == self.config.optimizer.steps:
                self.save()

    def save(self) -> None:
        """Write the checkpoint atomically."""
        place = self.folder / "structures.pt"
        partial = place.with_suffix(".partial")
        torch.save(
            {"step": self.step, "head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}, partial
        )
        partial.replace(place)

    def resume(self) -> bool:
        """Load the checkpoint if there is one, and say whether there was."""
        place = self.folder / "structures.pt"
        if not place.is_file():
            return False
        state = torch.load(place, map_location="cpu", weights_only=True)
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return True

    def _train_step(self) -> float:
        images, labels, drop = self._batch(self.step)
        self.head.train()
        with torch.autocast("cpu", torch.bfloat16):
            with torch.inference_mode():
                tokens = self.model.image_features(images)
            kept = torch.where(rearrange(drop, "b -> b 1 1 1 1"), 0.0, tokens.float())
            logits = self.head(images, kept)
        loss = self._loss(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.head.parameters(), self.config.optimizer.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule(self.step, self.config.optimizer) * self.config.optimizer.learning_rate
        self.optimizer.step()
        return float(loss.item())

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        rng = np.random.default_rng([config.seed, 2, step])
        images, labels = [], []
        for seed in rng.integers(0, config.train_cases, size=config.batch_size):
            case = self._store.read(int(seed))
            drawn = augment.draw(rng, config.shift_voxels)
            hu = augment.apply_to_image(torch.from_numpy(case.hu.astype(np.float32)), drawn)
            label = augment.shift(torch.from_numpy(case.labels.astype(np.int64)), drawn.shift, fill=0)
            hu, label = _cut(*augment.rescale(hu, label, rng), config.crop, rng)
            low, high = config.preprocessing.intensity_window
            images.append((augment.bend(hu, rng).clamp(low, high) - low) / (high - low) * 2 - 1)
            labels.append(torch.where(label > len(self.head.config.structures), 1, label))
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
        logits = head(image, model.image_features(image))
        return F.softmax(logits, dim=1).argmax(dim=1)[0]
