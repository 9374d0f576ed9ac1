"""Trainer: one optimiser step after another, with checkpoints from which a run goes on bit for bit.

A step is a pure function of (weights, optimiser state, step number): batches and dropout are seeded by the step, so
a checkpoint holds no generator state and no loader position.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn

from colipri_core.model.colipri import ColipriModel
from colipri_training.config import OptimizerConfig
from colipri_training.config import PretrainConfig
from colipri_training.data.batches import Batch
from colipri_training.objectives.attention import RegionAttention
from colipri_training.objectives.contrastive import Contrastive
from colipri_training.objectives.encoded import encode
from colipri_training.objectives.opposite import OppositeSentences
from colipri_training.objectives.region import RegionSentences

logger = logging.getLogger(__name__)

_LARGEST_SCALE = 100.0
_MUON_DECAY = 0.01


class Trainer:
    """A pretraining run.

    Args:
        config: The run.
        batches: Batch of a step.
        folder: Where `log.jsonl` and `checkpoint/` go.
        initialise: Called with the model before the first step.
        validate: Called with the averaged model every `validate_every` steps; its numbers are logged.
    """

    def __init__(
        self,
        config: PretrainConfig,
        batches: Callable[[int], Batch],
        folder: Path,
        *,
        initialise: Callable[[ColipriModel], None] | None = None,
        validate: Callable[[ColipriModel], dict[str, float]] | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.step = 0
        self._batches = batches
        self._initialise = initialise
        self._validate = validate
        torch.manual_seed(config.seed)
        self.model = ColipriModel(config.model)
        self.averaged = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / config.loss.temperature)))
        self.objectives = [
            (weight, objective)
            for weight, objective in (
                (config.loss.contrastive, Contrastive()),
                (config.loss.opposite, OppositeSentences()),
                (config.loss.region, RegionSentences()),
                (config.loss.attention, RegionAttention()),
            )
            if weight
        ]
        self.optimizers = _optimizers(self.model, self.log_scale, config.optimizer)
        self._stop = False
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Train until the last step, or until SIGTERM or SIGINT; either way a checkpoint holds the last step."""
        handlers = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            if self.step == 0 and self._initialise:
                self._initialise(self.model)
                self.averaged.load_state_dict(self.model.state_dict())
            while self.step < self.config.optimizer.steps and not self._stop:
                self._one_step()
            self.save()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def save(self) -> None:
        """Write the checkpoint; the old one stays whole until the new one is."""
        place = self.folder / "checkpoint.pt"
        partial = place.with_suffix(f".{os.getpid()}")
        torch.save(self._state(), partial)
        partial.replace(place)

    def resume(self) -> bool:
        """Load the checkpoint if there is one, and say whether there was.

        Raises:
            ValueError: If the checkpoint belongs to another config.
        """
        place = self.folder / "checkpoint.pt"
        if not place.is_file():
            return False
        state = torch.load(place, map_location="cpu", weights_only=True)
        if state["config"] != json.dumps(self.config.to_json(), sort_keys=True):
            msg = f"{place.name} was written by a run with another config; start in an empty folder."
            raise ValueError(msg)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        with torch.no_grad():
            self.log_scale.copy_(state["log_scale"])
        self.step = state["step"]
        return True

    def final_model(self) -> ColipriModel:
        """The averaged model with the learned temperature in its buffer."""
        model = copy.deepcopy(self.averaged if self.config.optimizer.average else self.model).eval()
        model.softmax_temperature.copy_(1 / self._scale().detach())
        return model

    def _one_step(self) -> None:
        started = time.perf_counter()
        record = self._train_step(self._batches(self.step))
        self.step += 1
        record |= {"step": self.step, "seconds": round(time.perf_counter() - started, 3)}
        if self._validate and self.step % self.config.validate_every == 0:
            record |= self._validate(self.final_model())
        self._log(record)
        if self.step % self.config.checkpoint_every == 0:
            self.save()

    def _train_step(self, batch: Batch) -> dict[str, float]:
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
            encoded = encode(self.model, batch, self._scale())
        losses = {objective.name: weight * objective(batch, encoded) for weight, objective in self.objectives}
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            msg = f"The loss is {loss.item()} at step {self.step}; the last checkpoint holds an earlier step."
            raise FloatingPointError(msg)
        self.model.zero_grad(set_to_none=True)
        self.log_scale.grad = None
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.gradient_clip)
        share = schedule(self.step, self.config.optimizer)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["peak"]
            optimizer.step()
        self._average()
        values = {name: round(value.item(), 5) for name, value in losses.items()}
        return {
            **values,
            "loss": round(loss.item(), 5),
            "scale": round(self._scale().item(), 3),
            "gradient_norm": round(norm.item(), 4),
            "learning_rate": share * self.config.optimizer.learning_rate,
        }

    def _scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=_LARGEST_SCALE)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.optimizer.average, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def _state(self) -> dict[str, Any]:
        return {
            "config": json.dumps(self.config.to_json(), sort_keys=True),
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "log_scale": self.log_scale.detach(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def _log(self, record: dict[str, float]) -> None:
        with (self.folder / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        logger.info("step %(step)d loss %(loss).4f %(seconds).2f s", record)

    def _ask_to_stop(self, number: int, frame: object) -> None:
        del frame
        logger.warning("Signal %d: saving after this step, then stopping.", number)
        self._stop = True


def schedule(step: int, config: OptimizerConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then cosine decay to a hundredth."""
    warmup = max(1, round(config.warmup * config.steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, config.steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _optimizers(model: nn.Module, log_scale: nn.Parameter, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """AdamW, with Muon beside it for the matrices inside the image encoder's blocks if the config wants that.

    Matrices and kernels of the image encoder decay; everything with one axis (norms, biases, LayerScale) and the text
    encoder do not.
    """
    groups: dict[str, list[nn.Parameter]] = {"text": [], "block": [], "matrix": [], "vector": [log_scale]}
    for name, value in model.named_parameters():
        groups[_kind(name, value)].append(value)
    if not config.matrix_learning_rate:
        groups["matrix"] += groups.pop("block")
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [
                {"params": groups["matrix"], "weight_decay": config.weight_decay},
                {"params": groups["vector"], "weight_decay": 0.0},
                {"params": groups["text"], "weight_decay": 0.0, "lr": config.text_learning_rate},
            ],
            lr=config.learning_rate,
            betas=config.betas,
        )
    ]
    if "block" in groups:
        optimizers.append(torch.optim.Muon(groups["block"], lr=config.matrix_learning_rate, weight_decay=_MUON_DECAY))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _kind(name: str, value: Tensor) -> str:
    if name.startswith("text_encoder"):
        return "text"
    if value.ndim <= 1:
        return "vector"
    return "block" if value.ndim == 2 and ".blocks." in name else "matrix"
