"""Training a reporter: AdamW on projector and LoRA matrices, resumed exactly from the last checkpoint."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import Checkpoints
from colipri_training.config import OptimizerConfig
from colipri_training.identity import differences
from colipri_training.identity import plain
from colipri_training.optimizers import schedule
from colipri_training.reporter.data import Pair
from colipri_training.reporter.data import PairStore
from colipri_training.reporter.data import batches
from colipri_training.reporter.model import LanguageReporter

logger = logging.getLogger(__name__)

_CLIP = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReporterTraining:
    """How a reporter is trained; the defaults are our choice, rates after LLaVA's LoRA recipe.

    Args:
        steps: Steps in all.
        batch: Reports a step.
        learning_rate: Peak rate.
        save_every: Steps between checkpoints.
        seed: Decides order, dropout and new weights.
    """

    steps: int = 2000
    batch: int = 8
    learning_rate: float = 2e-4
    save_every: int = 200
    seed: int = 0


def train(
    reporter: LanguageReporter, pairs: Sequence[Pair] | PairStore, training: ReporterTraining, folder: Path
) -> list[float]:
    """Train, and write the reporter to `folder / "reporter"`.

    Args:
        reporter: What learns, on its device.
        pairs: What it learns from.
        training: How.
        folder: The run; its checkpoints lie in it.

    Returns:
        The loss of each step taken now, in nats a word piece.

    Raises:
        CheckpointError: If the folder holds a run of another encoder, language model or settings, or of other cases.
    """
    learned = reporter.learned()
    adam = torch.optim.AdamW(learned.values(), lr=training.learning_rate, weight_decay=0.0)
    checkpoints = Checkpoints(folder / "checkpoints")
    identity = _identity(reporter, pairs, training)
    start = _resume(checkpoints, learned, adam, identity)
    course = OptimizerConfig(steps=training.steps, learning_rate=training.learning_rate)
    device = next(iter(learned.values())).device
    losses = []
    reporter.train()
    for step, batch in enumerate(
        batches(pairs, size=training.batch, steps=range(start, training.steps), seed=training.seed), start=start
    ):
        torch.manual_seed(training.seed + step)  # dropout of a step is the same after a resume
        for group in adam.param_groups:
            group["lr"] = training.learning_rate * schedule(step, course)
        tokens = torch.stack([pair.tokens for pair in batch]).to(device)
        loss = reporter(tokens, [pair.report for pair in batch])
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned.values(), _CLIP)
        adam.step()
        losses.append(float(loss.detach()))
        if (step + 1) % training.save_every == 0 or step + 1 == training.steps:
            logger.info("Step %d of %d: %.3f nats a word piece", step + 1, training.steps, losses[-1])
            state = {name: value.detach().cpu() for name, value in learned.items()}
            known = {"step": step + 1, "identity": json.dumps(identity)}
            checkpoints.save({**known, "learned": state, "adam": adam.state_dict()}, step + 1)
    reporter.eval()
    reporter.save(folder / "reporter")
    return losses


def _identity(
    reporter: LanguageReporter, pairs: Sequence[Pair] | PairStore, training: ReporterTraining
) -> dict[str, Any]:
    config = plain(reporter.config) | {"language_model": Path(reporter.config.language_model).name}
    seen = pairs.identity() if isinstance(pairs, PairStore) else {"pairs": len(pairs)}
    return {"reporter": config, "training": plain(training, without=("save_every",)), "learned from": seen}


def _resume(
    checkpoints: Checkpoints,
    learned: dict[str, torch.Tensor],
    adam: torch.optim.Optimizer,
    identity: dict[str, Any],
) -> int:
    state = checkpoints.load()
    if state is None:
        return 0
    if state["learned"].keys() != learned.keys():
        msg = "The checkpoint is of another language model or rank. Use its settings, or another folder."
        raise ValueError(msg)
    told = differences(json.loads(state["identity"]), identity) if "identity" in state else ""
    if told:
        msg = f"The checkpoint is of another training of a reporter ({told}). Choose another --output."
        raise CheckpointError(msg)
    with torch.no_grad():
        for name, value in learned.items():
            value.copy_(state["learned"][name])
    adam.load_state_dict(state["adam"])
    return int(state["step"])
