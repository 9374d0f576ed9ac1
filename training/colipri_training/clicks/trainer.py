"""ClickTrainer: fits the interactive segmenter, one step after another, going on from a checkpoint bit for bit.

A run ends after a number of steps, or after minutes of training, whichever is set; the learning rate falls with the
share that is done. A run bounded by steps is a function of its config; one bounded by time ends where the clock says.
"""

from __future__ import annotations

import copy
import logging
import math
import signal
import time
from pathlib import Path
from typing import Any

import torch
from monai.losses import DiceCELoss
from torch import Tensor
from torch import nn

from colipri_core.errors import Cancelled
from colipri_core.model.click_network import ClickNetwork
from colipri_training.checkpoints import Checkpoints
from colipri_training.clicks.config import ClickConfig
from colipri_training.clicks.episodes import Episodes
from colipri_training.clicks.episodes import SceneSource
from colipri_training.clicks.validation import mean_dice
from colipri_training.clicks.validation import validate
from colipri_training.guard import GradientGuard
from colipri_training.identity import differences
from colipri_training.journal import Journal
from colipri_training.precision import native_bfloat16

logger = logging.getLogger(__name__)

_FLOOR = 0.01


class ClickTrainer:
    """A training run.

    Args:
        config: The run.
        folder: Where `log.jsonl` and `checkpoints/` go; made if absent.
        minutes: Minutes of training after which the run ends; None to end after `config.steps`.
        device: Where the network computes.
        source: Draws the share `config.project_share` of the scenes.
        judged: Draws held-out scenes of a project to validate on as well.

    Attributes:
        network: What is trained.
        averaged: The moving average of its weights.
        step: Steps done.
        origin: Whose weights the run began with; empty if its own.
    """

    def __init__(
        self,
        config: ClickConfig,
        folder: Path,
        *,
        minutes: float | None = None,
        device: str = "cpu",
        source: SceneSource | None = None,
        judged: SceneSource | None = None,
    ) -> None:
        self.config = config
        self.step = 0
        self.origin = ""
        self._minutes = minutes
        self._seconds = 0.0
        self._guard = GradientGuard()
        self._device = torch.device(device)
        self._asked_to_stop = False
        torch.manual_seed(config.seed)
        self.network = ClickNetwork(config.network).to(self._device)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._loss = DiceCELoss(sigmoid=True)
        self.episodes = Episodes(config, source=source)
        self._judged = judged
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints = Checkpoints(folder / "checkpoints")
        steps = config.steps if minutes is None else None
        self._journal = Journal(folder, steps=steps, volumes=config.batch_size, parts=("dice",))

    @property
    def share_done(self) -> float:
        """How much of the run is done, in [0, 1]."""
        done = self.step / self.config.steps if self._minutes is None else self._seconds / (60 * self._minutes)
        return min(1.0, done)

    def run(self) -> None:
        """Train until the end, or until SIGTERM or SIGINT; either way a checkpoint holds the last step.

        Raises:
            Cancelled: If a signal stopped it before its end.
        """
        handlers = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._journal.rewind(self.step)
            while self.share_done < 1 and not self._asked_to_stop:
                self._one_step()
            self.save()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.share_done < 1:
            msg = f"The run was stopped after step {self.step}, and saved; run it again with --resume to go on."
            raise Cancelled(msg)

    def save(self) -> None:
        """Write a checkpoint; the one before it stays."""
        state = {
            "config": self.config.identity(),
            "step": self.step,
            "seconds": self._seconds,
            "skipped": self._guard.skipped,
            "origin": self.origin,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "episodes": self.episodes.state(),
        }
        self._checkpoints.save(state, self.step)

    def has_checkpoint(self) -> bool:
        """Whether the folder holds a checkpoint of a run, of whatever config."""
        return self._checkpoints.load() is not None

    def resume(self) -> bool:
        """Load the newest whole checkpoint if there is one, and say whether there was.

        Raises:
            ValueError: If the checkpoint belongs to another config.
            CheckpointError: If all checkpoints are damaged.
        """
        state = self._checkpoints.load()
        if state is None:
            return False
        if told := differences(state["config"], self.config.identity()):
            msg = f"The checkpoint was written by a run with another config ({told}); start in an empty folder."
            raise ValueError(msg)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.episodes.load(state["episodes"])
        self.step, self._seconds, self._guard.skipped = state["step"], state["seconds"], state["skipped"]
        self.origin = state["origin"]
        return True

    def start_from(self, weights: dict[str, Tensor], *, origin: str) -> None:
        """Begin with the weights of another network of the same sizes, be it one that is shown no random walks.

        Args:
            weights: Its state.
            origin: What it is called, for the bundle made of this run.
        """
        self.origin = origin
        weights = widened(weights, like=self.network.state_dict())
        self.network.load_state_dict(weights)
        self.averaged.load_state_dict(weights)

    def validated(self) -> dict[str, float]:
        """Mean Dice of the averaged network on held-out scenes: generated ones, and those of the project if any are."""
        found = validate(self.averaged, self.config, device=self._device)
        if self._judged is not None:
            own = validate(self.averaged, self.config, device=self._device, source=self._judged)
            found |= {f"project_{name}": value for name, value in own.items()}
        return found

    def _one_step(self) -> None:
        started = time.perf_counter()
        record: dict[str, Any] = self._train_step()
        self.step += 1
        if self.step % self.config.validate_every == 0:
            record |= self.validated()
        seconds = time.perf_counter() - started
        self._seconds += seconds
        left = None if self._minutes is None else max(0.0, 60 * self._minutes - self._seconds)
        self._journal.write({**record, "step": self.step, "seconds": round(seconds, 3)}, left_s=left)
        if self.step % self.config.checkpoint_every == 0:
            self.save()

    def _train_step(self) -> dict[str, float]:
        episodes, config = self.episodes, self.config
        self.network.train()
        with native_bfloat16(self._device, wanted=config.bf16):
            logits = self.network(episodes.hu.to(self._device), episodes.hints.to(self._device))
        targets = episodes.targets.to(self._device)
        logits = logits.float()
        loss = self._loss(logits, targets.float())
        if not math.isfinite(loss.item()):
            msg = f"The loss is {loss.item()} after {self.step} steps; the last checkpoint holds an earlier step."
            raise FloatingPointError(msg)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        if self._guard.passes(norm, self.step):
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate()
            self.optimizer.step()
            self._average()
        shown = logits.detach() > 0
        episodes.advance(shown.cpu())
        return {
            "loss": round(loss.item(), 6),
            "dice": round(mean_dice(shown, targets > 0), 4),
            "gradient_norm": round(float(norm), 4),
            "learning_rate": self._rate(),
        }

    def _rate(self) -> float:
        """Linear warm-up, then cosine decay to a hundredth with the share that is done."""
        warm = min(1.0, (self.step + 1) / self.config.warmup_steps)
        fall = _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * self.share_done))
        return self.config.learning_rate * warm * fall

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _ask_to_stop(self, number: int, frame: object) -> None:
        del frame
        logger.warning("Signal %d: saving after this step, then stopping.", number)
        self._asked_to_stop = True


def widened(weights: dict[str, Tensor], *, like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with zeros for the last inputs of the stem that their network has not, so that its answers stay.

    Args:
        weights: State of a `ClickNetwork`.
        like: State of one that is alike, or that is shown more.
    """
    result = dict(weights)
    for name in ("stem.conv1.conv.weight", "stem.conv3.conv.weight"):
        missing = like[name].shape[1] - weights[name].shape[1]
        result[name] = nn.functional.pad(weights[name], (0, 0) * 3 + (0, max(0, missing)))
    return result
