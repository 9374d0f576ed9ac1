"""Figures of a downstream run on the test sub-volumes, with 95 % bootstrap intervals over the cases.

A target counts in the cases that show it. A group (organs, lesions) is the mean over all such pairs of a case and a
target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from monai.inferers import sliding_window_inference
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.evaluation.bootstrap import Counts
from colipri_training.evaluation.bootstrap import mean_of_cases
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.metrics import Predictions
from colipri_training.evaluation.metrics import best_thresholds
from colipri_training.evaluation.metrics import describe
from colipri_training.evaluation.overlap import dice
from colipri_training.evaluation.overlap import surface_dice
from colipri_training.precision import native_bfloat16
from colipri_training.transfer.batches import read_labelled
from colipri_training.transfer.batches import scaled
from colipri_training.transfer.config import TransferConfig
from colipri_training.transfer.networks import TransferNetwork
from colipri_training.transfer.targets import Target
from colipri_training.transfer.targets import targets_of
from colipri_training.transfer.volumes import SubVolumeStore

Floats = npt.NDArray[np.float64]
_WINDOWS_AT_ONCE = 2


def score_segmentation(
    network: TransferNetwork, volumes: SubVolumeStore, config: TransferConfig, window_hu: tuple[float, float]
) -> dict[str, Any]:
    """Dice and NSD of every target, and of organs and lesions, as plain values."""
    targets = targets_of(config.targets)
    seeds = config.volumes.seeds("test")
    dices, nsds = (np.full((len(seeds), len(targets)), math.nan) for _ in range(2))
    for row, seed in enumerate(seeds):
        volume = read_labelled(volumes, seed, config)
        found = segment(network, scaled(torch.from_numpy(volume.hu.astype(np.float32)), window_hu), config)
        for column in range(len(targets)):
            mask = volume.labels == column + 1
            if mask.any():
                dices[row, column] = dice(found == column + 1, mask)
                nsds[row, column] = surface_dice(found == column + 1, mask, config.volumes.spacing_mm)
    counts = resample_patients([str(seed) for seed in seeds])
    return {
        "cases": len(seeds),
        "targets": {
            target.name: _figures(dices[:, [column]], nsds[:, [column]], counts)
            for column, target in enumerate(targets)
        },
        "groups": {
            group: _figures(dices[:, columns], nsds[:, columns], counts) for group, columns in _groups(targets).items()
        },
        "dice_of_cases": {
            target.name: {str(seed): round(float(value), 4) for seed, value in _known(seeds, dices[:, column])}
            for column, target in enumerate(targets)
        },
    }


def segment(network: TransferNetwork, image_XYZ: Tensor, config: TransferConfig) -> npt.NDArray[np.uint8]:
    """Outline a sub-volume in overlapping windows; returns its labelmap (X, Y, Z)."""
    network.eval()
    device = next(network.parameters()).device
    images = rearrange(image_XYZ, "x y z -> 1 1 x y z").to(device)
    with torch.inference_mode(), native_bfloat16(device, wanted=config.bf16):
        logits = sliding_window_inference(
            images, config.crop, _WINDOWS_AT_ONCE, network, overlap=config.overlap, mode="gaussian"
        )
    assert isinstance(logits, Tensor), "the network gives one tensor"
    return np.asarray(logits.float().argmax(dim=1)[0].cpu().numpy(), dtype=np.uint8)


def score_classification(probabilities_NF: Floats, volumes: SubVolumeStore, config: TransferConfig) -> dict[str, Any]:
    """AUROC and the other figures of the 18 findings; thresholds are 0.5, since no further cases choose them.

    Args:
        probabilities_NF: Of the test cases, in order.
        volumes: The sub-volumes.
        config: The run.
    """
    names = tuple(str(seed) for seed in config.volumes.seeds("test"))
    predictions = Predictions(
        findings=tuple(CT_RATE_FINDINGS),
        ids=names,
        patients=names,
        probabilities=probabilities_NF,
        labels=findings_of(volumes, config.volumes.seeds("test")),
    )
    return describe(predictions, best_thresholds(None, len(CT_RATE_FINDINGS)), resample_patients(names))


def classify(
    network: TransferNetwork, volumes: SubVolumeStore, config: TransferConfig, window_hu: tuple[float, float]
) -> Floats:
    """Probabilities (N, 18) of the test cases by a fine-tuned network."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    with torch.inference_mode(), native_bfloat16(device, wanted=config.bf16):
        for seed in config.volumes.seeds("test"):
            image = scaled(torch.from_numpy(volumes.read(seed).hu.astype(np.float32)), window_hu)
            rows.append(network(rearrange(image, "x y z -> 1 1 x y z").to(device)).float().sigmoid().cpu())
    return np.asarray(torch.cat(rows).double().numpy(), dtype=np.float64)


def findings_of(volumes: SubVolumeStore, seeds: Sequence[int]) -> Floats:
    """(N, 18) which findings sub-volumes show."""
    labels = np.zeros((len(seeds), len(CT_RATE_FINDINGS)))
    for row, seed in enumerate(seeds):
        labels[row, list(volumes.present(seed))] = 1
    return labels


def _figures(dices: Floats, nsds: Floats, counts: Counts) -> dict[str, Any]:
    return {
        "cases": int((~np.isnan(dices)).any(axis=1).sum()),
        "dice": mean_of_cases(dices, counts).to_json(),
        "nsd": mean_of_cases(nsds, counts).to_json(),
    }


def _groups(targets: Sequence[Target]) -> Mapping[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for column, target in enumerate(targets):
        groups.setdefault(target.group, []).append(column)
    return groups


def _known(seeds: Sequence[int], values: Floats) -> list[tuple[int, float]]:
    return [(seed, value) for seed, value in zip(seeds, values, strict=True) if not math.isnan(value)]
