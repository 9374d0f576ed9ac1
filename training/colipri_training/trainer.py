"""Trainer: one optimiser step after another, on one process or many, going on from a checkpoint bit for bit.

A step is a pure function of (weights, optimiser state, step number): batches, dropout and hidden patches are seeded by
the step, so a checkpoint holds no generator state, and a run may go on with another number of processes. The global
batch is the same for any number; each process works on its part of it. Batches that know a state (a loader's next step,
and the hash of the data sets it reads) have it kept in the checkpoint.
"""

from __future__ import annotations

import copy
import logging
import math
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn
from torch.distributed.checkpoint.stateful import Stateful

from colipri_core.errors import Cancelled
from colipri_core.model.hardware import has_fast_bfloat16
from colipri_training.checkpoints import Checkpoints
from colipri_training.checks import convolved_in_bfloat16
from colipri_training.config import ComputeConfig
from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.distributed import World
from colipri_training.distributed import gather_rows
from colipri_training.distributed import mean_over_processes
from colipri_training.distributed import send_from_first
from colipri_training.distributed import wait_for_all
from colipri_training.distributed import world
from colipri_training.guard import GradientGuard
from colipri_training.initialise import whiten
from colipri_training.journal import Journal
from colipri_training.network import bound_scale
from colipri_training.network import prepare_for
from colipri_training.network import scale_of
from colipri_training.networks import AnyNetwork
from colipri_training.networks import network_of
from colipri_training.objectives.cached import backward
from colipri_training.optimizers import make_optimizers
from colipri_training.optimizers import schedule
from colipri_training.optimizers import update
from colipri_training.seeds import mixed
from colipri_training.sharding import Layout
from colipri_training.sharding import Replicated
from colipri_training.sharding import Sharded
from colipri_training.sharding import whole

logger = logging.getLogger(__name__)

_WHITENING_STEPS = 8


class Trainer:
    """A pretraining run.

    Args:
        config: The run; its class decides what is trained (`networks.network_of`).
        batches: This process's part of the global batch of a step, a pure function of the step; if it is `Stateful`,
            its state is part of the checkpoint.
        folder: Where `log.jsonl` and `checkpoints/` go.
        weights: Called with the fresh network before it is laid out on the processes; it may load weights.
        initialise: Called with the model before the first step; returns the losses of what it learned, for the log.
        validate: Called by every process with the averaged model (`shipped` of the network) every `validate_every`
            steps and after the last one; its numbers are logged.

    Attributes:
        network: Everything that is trained.
        averaged: The exponential moving average of its weights.
        step: Steps done.

    Raises:
        ValueError: If the global batch does not divide among the processes, a decoder has no sizes, or the run asks
            for what does not work on shards or on its device.
    """

    def __init__(
        self,
        config: RunConfig,
        batches: Callable[[int], Any],
        folder: Path,
        *,
        weights: Callable[[Any], object] | None = None,
        initialise: Callable[[Any], list[float]] | None = None,
        validate: Callable[[Any], dict[str, float]] | None = None,
    ) -> None:
        self.config = config
        self.world = world()
        self.step = 0
        self._batches = batches
        self._initialise = initialise
        self._validate = validate
        self._guard = GradientGuard()
        self._asked_to_stop = False
        self._stop = False
        _check(config, self.world)
        torch.manual_seed(config.seed)
        self.network: AnyNetwork = network_of(config)
        if weights is not None:
            weights(self.network)
        self.network.to(self.world.device)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        prepare_for(self.network, config.compute)
        self._layout: Layout = Sharded(self.world) if config.compute.sharded else Replicated(self.world)
        self._parallel = self._layout.place(self.network, self.network.unreached())
        self._layout.place(self.averaged)
        self.objectives = self.network.objectives
        self.optimizers = make_optimizers(self.network, config.optimizer)
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints = Checkpoints(folder / "checkpoints")
        self._journal = Journal(
            folder,
            steps=config.optimizer.steps,
            volumes=config.data.batch_size,
            parts=tuple(objective.name for _, objective in self.objectives),
            tensorboard=config.compute.tensorboard and self.world.first,
        )

    @property
    def model(self) -> nn.Module:
        """The model in training, without what is trained around it."""
        return self.network.model

    def run(self) -> None:
        """Train until the last step, or until SIGTERM or SIGINT; either way a checkpoint holds the last step.

        Raises:
            Cancelled: If a signal stopped it before the last step of the run.
        """
        handlers = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            if self.world.first:
                self._journal.rewind(self.step)
            if self.step == 0:
                self._begin()
            while self.step < self.config.optimizer.steps and not self._stop:
                self._one_step()
            self.save()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.step < (steps := self.config.optimizer.steps):
            msg = f"The run was stopped after step {self.step} of {steps}, and saved; run it again to go on."
            raise Cancelled(msg)

    def save(self) -> None:
        """Write a checkpoint; the one before it stays."""
        state = self._state()
        if self.world.first:
            self._checkpoints.save(state, self.step)
        wait_for_all()

    def resume(self) -> bool:
        """Load the newest whole checkpoint if there is one, and say whether there was.

        Raises:
            ValueError: If the checkpoint belongs to another config or layout.
            CheckpointError: If all checkpoints are damaged.
        """
        state = self._checkpoints.load()
        if state is None:
            return False
        if told := self.config.differences(state["config"]):
            msg = f"The checkpoint was written by a run with another config ({told}); start in an empty folder."
            raise ValueError(msg)
        if state["layout"] != self._layout.name:
            msg = (
                f"The checkpoint is {state['layout']}, this run is {self._layout.name}; set compute.sharded as before."
            )
            raise ValueError(msg)
        self._layout.load_weights(self.network, state["network"])
        self._layout.load_weights(self.averaged, state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            self._layout.load_optimizer(self.network, optimizer, saved)
        if isinstance(self._batches, Stateful):
            self._batches.load_state_dict(state["batches"])
        self.step, self._guard.skipped = state["step"], state["skipped"]
        return True

    def final_model(self) -> nn.Module:
        """The averaged model with the learned temperature in its buffer, on the CPU.

        In a sharded run every process must ask, and only the first one gets the weights.
        """
        network = network_of(self.config).eval()
        source = self.averaged if self.config.optimizer.average else self.network
        if weights := self._layout.weights(source):
            network.load_state_dict(weights)
        return network.shipped(self._scale())

    @torch.no_grad()
    def _scale(self) -> Tensor:
        return scale_of(whole(self.network.log_scale)).cpu()

    def _begin(self) -> None:
        """Give the model what it knows before the first step: the same on every process."""
        if isinstance(self.config, PretrainConfig) and self.config.whiten:
            self._whiten()
        if self._initialise:
            losses = self._initialise(self.model)
            send_from_first([value.detach() for value in self.model.parameters()])
            if self.world.first and losses:
                self._journal.write_stage("sentences", losses)
        self.averaged.load_state_dict(self.network.state_dict())

    def _whiten(self) -> None:
        embedding = self.model.image_encoder.backbone.down_projection
        sample = []
        for step in range(_WHITENING_STEPS):
            batch = self._batches(step).to(self.world.device)
            sample.append(gather_rows(embedding.rows(batch.images, batch.keep)).flatten(0, 1))
        whiten(embedding, torch.cat(sample))
        send_from_first([embedding.proj.weight.detach(), embedding.proj.bias.detach()])

    def _one_step(self) -> None:
        started = time.perf_counter()
        record: dict[str, float] = self._train_step(self._batches(self.step))
        self.step += 1
        record |= {"step": self.step, "seconds": round(time.perf_counter() - started, 3)}
        last = self.step == self.config.optimizer.steps
        if self._validate and (last or self.step % self.config.validate_every == 0):
            record |= self._measure(self._validate)
        if self.world.first:
            self._journal.write(record)
        if self.step % self.config.checkpoint_every == 0:
            self.save()

    def _measure(self, validate: Callable[[Any], dict[str, float]]) -> dict[str, float]:
        """Validate the averaged model on this process's device; the first process sends it to the others."""
        model = self.final_model().to(self.world.device)
        send_from_first([*(value.detach() for value in model.parameters()), *model.buffers()])
        with self._autocast():
            return validate(model)

    def _train_step(self, batch: Any) -> dict[str, float]:
        seed = self.config.seed * 1_000_003 + self.step
        batch = self.network.draw(batch.to(self.world.device), seed=seed, world=self.world)
        self.network.train()
        self.network.zero_grad(set_to_none=True)
        losses = backward(
            self._parallel,
            self.objectives,
            batch,
            parts=_parts(len(batch.images), self.config.compute),
            seed=mixed(self.config.seed, self.step, self.world.rank),
            autocast=self._autocast,
        )
        record = self._agree(losses)
        norm = whole(nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.gradient_clip))
        share = schedule(self.step, self.config.optimizer)
        if self._guard.passes(norm, self.step):
            update(self.optimizers, share)
            bound_scale(self.network.log_scale)
            self._average()
        return {
            **record,
            "scale": round(self._scale().item(), 3),
            "gradient_norm": round(norm.item(), 4),
            "learning_rate": share * self.config.optimizer.learning_rate,
        }

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.bf16)

    def _agree(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Losses of the global batch; on the way, all processes learn whether one was asked to stop."""
        stop = torch.tensor(float(self._asked_to_stop), device=self.world.device)
        *values, asked = mean_over_processes(torch.stack([*(loss.float() for loss in losses.values()), stop])).tolist()
        self._stop = asked > 0
        if not all(map(math.isfinite, values)):
            msg = f"The losses are {dict(zip(losses, values, strict=True))} after {self.step} steps; "
            raise FloatingPointError(msg + "the last checkpoint holds an earlier step.")
        record = {name: round(value, 7) for name, value in zip(losses, values, strict=True)}
        return record | {"loss": round(sum(values), 7)}

    @torch.no_grad()
    def _average(self) -> None:
        if not self.config.optimizer.average:
            return
        decay = min(self.config.optimizer.average, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.identity(),
            "step": self.step,
            "skipped": self._guard.skipped,
            "batches": self._batches.state_dict() if isinstance(self._batches, Stateful) else {},
            "layout": self._layout.name,
            "network": self._layout.weights(self.network),
            "averaged": self._layout.weights(self.averaged),
            "optimizers": [self._layout.optimizer_state(self.network, optimizer) for optimizer in self.optimizers],
        }

    def _ask_to_stop(self, number: int, frame: object) -> None:
        del frame
        logger.warning("Signal %d: saving after this step, then stopping.", number)
        self._asked_to_stop = True


def _parts(volumes: int, compute: ComputeConfig) -> int:
    """Into how many parts a process cuts its part of the batch."""
    return math.ceil(volumes / (compute.micro_batch or volumes))


def _check(config: RunConfig, processes: World) -> None:
    """Refuse what the device miscounts, cannot be shared among the processes, or does not work on shards."""
    if config.bf16 and processes.device.type == "cpu":
        convolved_in_bfloat16(config.smallest_convolved)
    if config.bf16 and not has_fast_bfloat16(processes.device):
        logger.warning("bf16=true, which %s only emulates: bf16=false is far faster.", processes.device)
    if isinstance(config, PretrainConfig):
        _check_pretraining(config, processes)
    _check_divides("batch_size", config.data.batch_size, processes)


def _check_pretraining(config: PretrainConfig, processes: World) -> None:
    prepares = config.whiten or config.sentence_steps or config.stem_taught
    if config.compute.sharded and (prepares or config.optimizer.matrix_learning_rate):
        msg = (
            "whitening, aligning sentences, a taught stem and Muon need whole matrices: set whiten=False, "
            "sentence_steps=0, stem_taught=False and matrix_learning_rate=0, or sharded=False"
        )
        raise ValueError(msg)
    _check_divides("unpaired", config.data.unpaired, processes)
    if config.loss.reconstruction and config.reconstruction is not None and not config.reconstruction.paired:
        parts = _parts(config.data.batch_size // processes.size, config.compute)
        if (number := config.data.unpaired // processes.size) < parts:
            msg = (
                f"each of the {parts} parts of a process's batch must have a volume to reconstruct, got {number}; "
                "raise data.unpaired or compute.micro_batch, or set reconstruction.paired"
            )
            raise ValueError(msg)


def _check_divides(name: str, number: int, processes: World) -> None:
    if number % processes.size:
        msg = f"data.{name} must be a multiple of the number of processes ({processes.size}), got {number}"
        raise ValueError(msg)
