"""Linear probes: how well one linear layer on frozen, pooled tokens tells the 18 findings.

The recipe is our choice, since COLIPRI's is not published: AdamW, learning rate 1e-3, weight decay 1e-4, 50 epochs, the
epoch with the best macro AUROC on validation cases, three seeds whose probabilities are averaged. Positives weigh as
much as negatives, finding by finding (at most ten times as much each). Unknown labels take no part.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from colipri_training.evaluation.features import Features
from colipri_training.evaluation.pooling import ATTENTION
from colipri_training.evaluation.pooling import POOLINGS
from colipri_training.evaluation.pooling import Probe

logger = logging.getLogger(__name__)

_HEAVIEST = 10.0

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How probes are trained.

    Args:
        poolings: Which of the five.
        epochs: Passes over the training cases.
        seeds: Probes whose probabilities are averaged.
        learning_rate: Of AdamW, constant.
        weight_decay: Of AdamW.
        batch_size: Cases a step.
        class_weights: Whether positives and negatives of a finding weigh the same.
    """

    poolings: tuple[str, ...] = POOLINGS
    epochs: int = 50
    seeds: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 64
    class_weights: bool = True

    def __post_init__(self) -> None:
        unknown = sorted(set(self.poolings) - set(POOLINGS))
        if unknown or not self.poolings:
            msg = f"Expected some of the poolings {', '.join(POOLINGS)}, got {', '.join(unknown) or 'none'}."
            raise ValueError(msg)
        if self.epochs < 1 or self.seeds < 1 or self.batch_size < 2:
            msg = (
                "Probes need at least one epoch, one seed and two cases a step, got "
                f"{self.epochs}, {self.seeds} and {self.batch_size}."
            )
            raise ValueError(msg)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self) | {"poolings": list(self.poolings)}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Features with labels (N, F): 1 present, 0 absent, NaN unknown."""

    features: Features
    labels: Floats

    def inputs(self, pooling: str, rows: npt.NDArray[np.intp]) -> Tensor:
        """What a probe of a pooling reads of some cases: (B, C), or (B, N, C) for attention."""
        if pooling in ATTENTION:
            return torch.stack([self.features.tokens(int(row)) for row in rows])
        vectors = self.features.mean if pooling == "mean" else self.features.maximum
        return vectors[torch.from_numpy(rows)]


def train_probe(
    pooling: str, train: Labelled, validation: Labelled | None, options: ProbeOptions, *, heads: int
) -> Callable[[Features], Floats]:
    """Train the probes of one pooling, one a seed.

    Args:
        pooling: Which.
        train: Cases to learn from.
        validation: Cases that choose the epoch; None takes the last.
        options: How.
        heads: Attention heads.

    Returns:
        Gives the probabilities (N, F) of other features: the mean over the seeds.
    """
    probes = [_train_one(pooling, train, validation, options, heads=heads, seed=seed) for seed in range(options.seeds)]

    def predict(features: Features) -> Floats:
        given = Labelled(features=features, labels=np.empty((len(features), 0)))
        return np.asarray(np.mean([_predict(probe, pooling, given, options) for probe in probes], axis=0))

    return predict


def _train_one(
    pooling: str, train: Labelled, validation: Labelled | None, options: ProbeOptions, *, heads: int, seed: int
) -> Probe:
    findings = train.labels.shape[1]
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probe = Probe(pooling, width=train.features.mean.shape[1], heads=heads, findings=findings)
    weights = _positive_weights(train.labels) if options.class_weights else torch.ones(findings)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    best, best_score = copy.deepcopy(probe.state_dict()), -np.inf
    for _ in range(options.epochs):
        probe.train()
        for rows in _batches(len(train.features), options.batch_size, rng):
            labels = torch.from_numpy(train.labels[rows]).float()
            loss = _loss(probe(train.inputs(pooling, rows)), labels, weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        score = 0.0 if validation is None else _mean_auroc(_predict(probe, pooling, validation, options), validation)
        if validation is None or score > best_score:
            best, best_score = copy.deepcopy(probe.state_dict()), score
    probe.load_state_dict(best)
    logger.info("probe %s, seed %d: validation macro AUROC %.3f", pooling, seed, best_score)
    return probe.eval()


def _batches(cases: int, size: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.intp]]:
    """Shuffled rows; a last batch of one is left out, since batch statistics need two."""
    order = rng.permutation(cases)
    for start in range(0, cases, size):
        rows = order[start : start + size]
        if len(rows) > 1:
            yield rows


def _positive_weights(labels: Floats) -> Tensor:
    positive = np.nansum(labels, axis=0)
    negative = (~np.isnan(labels)).sum(axis=0) - positive
    return torch.from_numpy(np.clip(negative / np.maximum(positive, 1), 1 / _HEAVIEST, _HEAVIEST)).float()


def _loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    known = ~labels.isnan()
    losses = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), pos_weight=weights, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


@torch.inference_mode()
def _predict(probe: Probe, pooling: str, given: Labelled, options: ProbeOptions) -> Floats:
    probe.eval()
    rows = np.arange(len(given.features))
    parts = [rows[start : start + options.batch_size] for start in range(0, len(rows), options.batch_size)]
    probabilities = [probe(given.inputs(pooling, part)).sigmoid().double() for part in parts]
    return np.asarray(torch.cat(probabilities).numpy(), dtype=np.float64)


def _mean_auroc(probabilities: Floats, given: Labelled) -> float:
    values = []
    for finding in range(given.labels.shape[1]):
        known = ~np.isnan(given.labels[:, finding])
        labels = given.labels[known, finding] > 0
        if labels.any() and not labels.all():
            values.append(float(roc_auc_score(labels, probabilities[known, finding])))
    return float(np.mean(values)) if values else 0.0
