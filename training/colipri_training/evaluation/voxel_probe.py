"""Voxel probe: how well one linear layer on frozen features outlines a structure in a volume that it never saw.

Each fold leaves one volume out. Of every other volume as many voxels inside the structure as outside are drawn; a
logistic regression (scikit-learn) on standardised features, interpolated to these voxels, is fitted to them. A balanced
sample says nothing of how rare a structure is, so the threshold is the one with the best mean Dice over the training
volumes, estimated on more of their voxels, each weighing as many as it stands for. The volume left out is used for
nothing but the figures.

The probe is linear and so is interpolation: the logit of a voxel is the interpolated logit of the feature maps, which
is how whole volumes are outlined. Naming: L levels, C channels, XYZ voxels, xyz a feature map, N sampled voxels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from einops import rearrange
from einops import repeat
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from colipri_training.evaluation.overlap import Mask
from colipri_training.evaluation.overlap import dice

Floats = npt.NDArray[np.float64]
_STREAM = 47
_THRESHOLDS = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoxelProbeOptions:
    """How probes are fitted. All are our choice.

    Attributes:
        voxels: Most voxels of each of the two classes that are drawn from a volume.
        threshold_voxels: The same for the choice of the threshold.
        regularisation: `C` of the logistic regression.
        iterations: Most of its iterations.
        seed: Decides which voxels are drawn.
    """

    voxels: int = 2000
    threshold_voxels: int = 100_000
    regularisation: float = 1.0
    iterations: int = 500
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ProbedVolume:
    """A volume's features, and where its voxels lie in them.

    Attributes:
        name: Its name.
        maps: Feature maps (C, x, y, z) over the same extent.
        positions: For each axis, where the centres of the voxels lie in that extent: -1 at its start, 1 at its end.
        masks: Structures by name, (X, Y, Z).
    """

    name: str
    maps: tuple[Tensor, ...]
    positions: tuple[Tensor, Tensor, Tensor]
    masks: dict[str, Mask]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LinearProbe:
    """A fitted probe.

    Attributes:
        weights: (C,) over the channels of all levels, one after another.
        bias: Of the logit.
        threshold: Logit from which a voxel belongs to the structure.
    """

    weights: Floats
    bias: float
    threshold: float


def leave_one_out(
    volumes: Sequence[ProbedVolume], structure: str, options: VoxelProbeOptions | None = None
) -> list[dict[str, object]]:
    """Outline a structure in every volume that shows it, with a probe of the others.

    Args:
        volumes: All volumes; those without a mask of the structure take no part.
        structure: Which.
        options: How.

    Returns:
        A row a volume: its name, Dice, AUROC over its voxels, and the volumes its probe was fitted on.

    Raises:
        ValueError: If fewer than two volumes show the structure.
    """
    chosen = options or VoxelProbeOptions()
    known = [volume for volume in volumes if structure in volume.masks and volume.masks[structure].any()]
    if len(known) < 2:
        msg = f'Leaving one volume out needs two with "{structure}", got {len(known)}.'
        raise ValueError(msg)
    rows: list[dict[str, object]] = []
    for left_out in known:
        others = [volume for volume in known if volume is not left_out]
        probe = fit(others, structure, chosen)
        logits = logits_of(probe, left_out)
        mask = left_out.masks[structure]
        rows.append(
            {
                "volume": left_out.name,
                "dice": round(dice(logits >= probe.threshold, mask), 5),
                "auroc": round(float(roc_auc_score(mask.ravel(), logits.ravel())), 5),
                "fitted_on": [volume.name for volume in others],
            }
        )
    return rows


def fit(volumes: Sequence[ProbedVolume], structure: str, options: VoxelProbeOptions) -> LinearProbe:
    """Fit a probe to some volumes.

    Args:
        volumes: The training volumes.
        structure: What it is to outline.
        options: How.
    """
    rng = np.random.default_rng([options.seed, _STREAM])
    features, labels = [], []
    for volume in volumes:
        for value, there in _classes(volume, structure):
            drawn = _drawn(there, options.voxels, rng)
            features.append(sample(volume, drawn))
            labels.append(np.full(len(drawn), value))
    scaler = StandardScaler()
    scaled = scaler.fit_transform(np.concatenate(features))
    model = LogisticRegression(C=options.regularisation, max_iter=options.iterations, class_weight="balanced")
    model.fit(scaled, np.concatenate(labels))
    weights = model.coef_[0] / scaler.scale_
    bias = float(model.intercept_[0] - (weights * scaler.mean_).sum())
    probe = LinearProbe(weights=weights, bias=bias, threshold=0.0)
    sampled = []
    for volume in volumes:
        for value, there in _classes(volume, structure):
            drawn = _drawn(there, options.threshold_voxels, rng)
            sampled.append((value, logits_at(probe, volume, drawn), len(there) / max(len(drawn), 1)))
    return dataclasses.replace(probe, threshold=best_threshold(sampled))


def sample(volume: ProbedVolume, voxels: npt.NDArray[np.intp]) -> Floats:
    """Features (N, C) of some voxels, all levels side by side, interpolated between their centres.

    Args:
        volume: The volume.
        voxels: (N,) flat indices.
    """
    where = _places(volume, voxels)
    levels = [rearrange(_interpolated(level, where), "c n 1 1 -> n c") for level in volume.maps]
    return np.asarray(torch.cat(levels, dim=1).double().numpy(), dtype=np.float64)


def logits_at(probe: LinearProbe, volume: ProbedVolume, voxels: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Logits (N,) of some voxels, given as flat indices."""
    where = _places(volume, voxels)
    parts = [_interpolated(field, where)[0, :, 0, 0] for field in _fields(probe, volume)]
    return np.asarray((torch.stack(parts).sum(dim=0) + probe.bias).numpy(), dtype=np.float32)


def logits_of(probe: LinearProbe, volume: ProbedVolume) -> npt.NDArray[np.float32]:
    """Logits (X, Y, Z) of all voxels of a volume."""
    fields = _fields(probe, volume)
    x, y, z = volume.positions
    planes = []
    for height in z:  # a plane at a time: the positions of a whole scan would be larger than the scan
        shape = {"x": len(x), "y": len(y)}
        point = (height.expand(len(x), len(y)), repeat(y, "y -> x y", **shape), repeat(x, "x -> x y", **shape))
        where = rearrange(torch.stack(point, dim=-1), "x y d -> 1 x y 1 d")
        planes.append(torch.stack([_interpolated(field, where)[0, :, :, 0] for field in fields]).sum(dim=0))
    return np.asarray((torch.stack(planes, dim=-1) + probe.bias).numpy(), dtype=np.float32)


def best_threshold(sampled: Sequence[tuple[bool, npt.NDArray[np.float32], float]]) -> float:
    """The threshold with the best mean Dice over some volumes, among 256 between the extremes of their logits.

    Args:
        sampled: For each volume, one after another, its voxels inside the structure (True) and those outside: logits,
            and how many voxels each stands for.
    """
    known = np.concatenate([logits for _, logits, _ in sampled])
    candidates = np.linspace(known.min(), known.max(), _THRESHOLDS)
    counts = [weight * (len(logits) - np.searchsorted(np.sort(logits), candidates)) for _, logits, weight in sampled]
    totals = [weight * len(logits) for _, logits, weight in sampled]
    inside = [index for index, (value, _, _) in enumerate(sampled) if value]
    curves = [2 * counts[index] / np.maximum(counts[index] + counts[index + 1] + totals[index], 1) for index in inside]
    return float(candidates[int(np.argmax(np.mean(curves, axis=0)))])


def mean_of(rows: Sequence[dict[str, object]], figure: str) -> float:
    """Mean of a figure, "dice" or "auroc", over the volumes left out; NaN if there are none."""
    values = [float(str(row[figure])) for row in rows]
    return float(np.mean(values)) if values else math.nan


def _classes(volume: ProbedVolume, structure: str) -> Iterator[tuple[bool, npt.NDArray[np.intp]]]:
    """Flat indices of the voxels inside a structure, then of those outside."""
    mask = volume.masks[structure].ravel()
    for value in (True, False):
        yield value, np.flatnonzero(mask == value)


def _drawn(there: npt.NDArray[np.intp], most: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """At most so many of some voxels, none twice."""
    return there if len(there) <= most else rng.choice(there, size=most, replace=False, shuffle=False)


def _places(volume: ProbedVolume, voxels: npt.NDArray[np.intp]) -> Tensor:
    """Positions (1, N, 1, 1, 3) of voxels, in the order z, y, x."""
    indices = np.unravel_index(voxels, [len(axis) for axis in volume.positions])
    points = [axis[torch.from_numpy(index)] for axis, index in zip(volume.positions, indices, strict=True)]
    return rearrange(torch.stack(points[::-1], dim=-1), "n d -> 1 n 1 1 d")


def _fields(probe: LinearProbe, volume: ProbedVolume) -> list[Tensor]:
    """What each level adds to the logit, (1, x, y, z)."""
    weights = torch.from_numpy(probe.weights).float().split([len(level) for level in volume.maps])
    return [
        torch.einsum("cxyz,c->xyz", level.float(), weight)[None]
        for level, weight in zip(volume.maps, weights, strict=True)
    ]


def _interpolated(level_Cxyz: Tensor, where: Tensor) -> Tensor:
    """Values (C, ...) of a map at positions (1, ..., 3) in the order z, y, x; constant beyond the outer centres."""
    values = F.grid_sample(level_Cxyz[None].float(), where.float(), padding_mode="border", align_corners=False)
    return values[0]
