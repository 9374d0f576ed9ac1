"""Disease classification by probe: one linear layer on the pooled features of a frozen encoder, over three seeds."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch import nn

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.evaluation.cases import Case
from colipri_training.evaluation.features import Features
from colipri_training.evaluation.probes import Labelled
from colipri_training.evaluation.probes import ProbeOptions
from colipri_training.evaluation.probes import train_probe
from colipri_training.transfer.batches import scaled
from colipri_training.transfer.config import TransferConfig
from colipri_training.transfer.networks import pooled
from colipri_training.transfer.scoring import Floats
from colipri_training.transfer.scoring import findings_of
from colipri_training.transfer.subsets import few_shot
from colipri_training.transfer.volumes import SubVolumeStore

_FEWEST = 2


def probe_findings(
    encoder: nn.Module,
    volumes: SubVolumeStore,
    config: TransferConfig,
    window_hu: tuple[float, float],
    options: ProbeOptions | None = None,
) -> Floats:
    """Train probes on the labelled cases of a run, and return the probabilities (N, 18) of its test cases.

    Args:
        encoder: A `DenseEncoder`, kept as it is.
        volumes: The sub-volumes.
        config: Says which cases are labelled, and which are tested.
        window_hu: Intensities that the encoder maps to [-1, 1].
        options: How probes are trained; the recipe of `evaluation.probes` on mean-pooled features if None.

    Raises:
        ValueError: If fewer than two cases are labelled.
    """
    seeds = few_shot(config.volumes.seeds("train"), config.fraction, seed=config.seed)
    if len(seeds) < _FEWEST:
        msg = f"A probe needs at least two labelled cases, got {len(seeds)}; raise fraction or volumes.train."
        raise ValueError(msg)
    train = Labelled(features=_features(encoder, volumes, seeds, window_hu), labels=findings_of(volumes, seeds))
    chosen = options or ProbeOptions(poolings=("mean",))
    (pooling,) = chosen.poolings
    predict = train_probe(pooling, train, None, chosen, heads=1)
    return predict(_features(encoder, volumes, tuple(config.volumes.seeds("test")), window_hu))


@torch.inference_mode()
def _features(
    encoder: nn.Module, volumes: SubVolumeStore, seeds: tuple[int, ...], window_hu: tuple[float, float]
) -> Features:
    """Mean and maximum of the deepest level, joined, in the place of mean-pooled tokens."""
    encoder.eval()
    device = next(encoder.parameters()).device
    rows: list[Tensor] = []
    for seed in seeds:
        image = scaled(torch.from_numpy(volumes.read(seed).hu.astype(np.float32)), window_hu)
        rows.append(pooled(encoder(rearrange(image, "x y z -> 1 1 x y z").to(device))[-1]).float().cpu()[0])
    vectors = torch.stack(rows)
    nothing = torch.zeros(len(rows), 0)
    return Features(
        cases=tuple(_case(volumes, seed) for seed in seeds),
        joint=nothing,
        mean=vectors,
        maximum=vectors,
        texts=nothing,
        files=(),
        records=(),
    )


def _case(volumes: SubVolumeStore, seed: int) -> Case:
    present = set(volumes.present(seed))
    return Case(
        id=str(seed),
        patient=str(seed),
        split="",
        fingerprint=str(seed),
        report=None,
        labels={name: int(index in present) for index, name in enumerate(CT_RATE_FINDINGS)},
    )
