"""TransferTrainer: fits a decoder or classifier, and the encoder if wanted, going on from a checkpoint bit for bit.

A step is a pure function of (weights, optimiser state, step number): crops, augmentation and dropout are seeded by it.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import nn

from colipri_training.checkpoints import Checkpoints
from colipri_training.checks import convolved_in_bfloat16
from colipri_training.guard import GradientGuard
from colipri_training.journal import Journal
from colipri_training.objectives.outlines import outline_loss
from colipri_training.optimizers import schedule
from colipri_training.optimizers import update
from colipri_training.precision import native_bfloat16
from colipri_training.transfer.config import TransferConfig
from colipri_training.transfer.networks import TransferNetwork

logger = logging.getLogger(__name__)

Batches = Callable[[int], tuple[Tensor, Tensor]]


class TransferTrainer:
    """A downstream run.

    Args:
        config: The run.
        network: What is trained.
        batches: Images and answers of a step.
        folder: Where `log.jsonl` and `checkpoints/` go; made if absent.
        weights: Which weights the encoder began with; a checkpoint must agree on them.

    Raises:
        ValueError: If gradients would be wrong, in bfloat16 on a CPU.

    Attributes:
        network: What is trained.
        step: Steps done.
        seconds: Time that they took.
    """

    def __init__(
        self, config: TransferConfig, network: TransferNetwork, batches: Batches, *, folder: Path, weights: str
    ) -> None:
        self.config = config
        self.network = network
        self.step = 0
        self.seconds = 0.0
        self._batches = batches
        self._identity = config.identity(weights)
        self._guard = GradientGuard()
        self._asked_to_stop = False
        self._device = next(network.parameters()).device
        self._loss = segmentation_loss if config.task == "segmentation" else F.binary_cross_entropy_with_logits
        if config.bf16 and self._device.type == "cpu":
            edges = config.crop if config.task == "segmentation" else config.volumes.size
            convolved_in_bfloat16(network.smallest_convolved(min(edges)))
        self.optimizer = make_optimizer(network, config)
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints = Checkpoints(folder / "checkpoints", keep=1)
        self._journal = Journal(folder, steps=config.optimizer.steps, volumes=config.batch_size, parts=())

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.step >= self.config.optimizer.steps

    def run(self) -> None:
        """Train until the last step, or until SIGTERM or SIGINT; either way a checkpoint holds the last step."""
        handlers = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._journal.rewind(self.step)
            while not self.finished and not self._asked_to_stop:
                self._one_step()
            self.save()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "identity": self._identity,
            "step": self.step,
            "seconds": self.seconds,
            "skipped": self._guard.skipped,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        self._checkpoints.save(state, self.step)

    def resume(self) -> bool:
        """Load the newest whole checkpoint if there is one, and say whether there was.

        Raises:
            ValueError: If it belongs to another config, or to other weights.
            CheckpointError: If all checkpoints are damaged.
        """
        state = self._checkpoints.load()
        if state is None:
            return False
        if state["identity"] != self._identity:
            msg = "The checkpoint was written by a run with another config or encoder; choose an empty folder."
            raise ValueError(msg)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self._guard.skipped = state["step"], state["seconds"], state["skipped"]
        return True

    def _one_step(self) -> None:
        started = time.perf_counter()
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed * 1_000_003 + self.step)
            record = self._train_step(*self._batches(self.step))
        self.step += 1
        seconds = time.perf_counter() - started
        self.seconds += seconds
        self._journal.write({**record, "step": self.step, "seconds": round(seconds, 3)})
        if self.step % self.config.checkpoint_every == 0 and not self.finished:
            self.save()

    def _train_step(self, images: Tensor, answers: Tensor) -> dict[str, float]:
        self.network.train()
        with native_bfloat16(self._device, wanted=self.config.bf16):
            logits = self.network(images.to(self._device))
        loss = self._loss(logits.float(), answers.to(self._device))
        if not math.isfinite(loss.item()):
            msg = f"The loss is {loss.item()} after {self.step} steps; lower the learning rate."
            raise FloatingPointError(msg)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.gradient_clip)
        share = schedule(self.step, self.config.optimizer)
        if self._guard.passes(norm, self.step):
            update([self.optimizer], share)
        return {
            "loss": round(loss.item(), 6),
            "gradient_norm": round(float(norm), 4),
            "learning_rate": share * self.config.optimizer.learning_rate,
        }

    def _ask_to_stop(self, number: int, frame: object) -> None:
        del frame
        logger.warning("Signal %d: saving after this step, then stopping.", number)
        self._asked_to_stop = True


def segmentation_loss(logits_BKXYZ: Tensor, labels_B1XYZ: Tensor) -> Tensor:
    """`outline_loss`, which small targets learn from at once, of class logits and labels int64."""
    return outline_loss(logits_BKXYZ, labels_B1XYZ[:, 0])


def make_optimizer(network: TransferNetwork, config: TransferConfig) -> torch.optim.Optimizer:
    """AdamW: a slowed encoder has a share of the rate, norms and biases do not decay, what is frozen has no part."""
    share = config.encoder_share if config.encoder == "slowed" else 1.0
    inside = {id(value) for value in network.encoder.parameters()}
    groups = []
    for of_encoder, rate in ((True, share), (False, 1.0)):
        for matrix, decay in ((True, config.optimizer.weight_decay), (False, 0.0)):
            values = [
                value
                for value in network.parameters()
                if value.requires_grad and (id(value) in inside) is of_encoder and (value.ndim > 1) is matrix
            ]
            rate_here = rate * config.optimizer.learning_rate
            groups.append({"params": values, "weight_decay": decay, "lr": rate_here, "peak": rate_here})
    filled = [group for group in groups if group["params"]]
    return torch.optim.AdamW(filled, lr=config.optimizer.learning_rate, betas=config.optimizer.betas)
