"""Zero-shot scores: probabilities from prompt directions, whether maps peak on the lesion, and a run's validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_training.data.store import StoredCase

FOCAL = np.array([concept.focal for concept in CT_RATE_CONCEPTS])
"""(18,) whether a finding has a place one can point at."""

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Raw predictions of N cases over F findings.

    Args:
        probabilities: (N, F).
        labels: (N, F) bool.
        hits: (N, F) 1 where the map's peak lies within one patch edge of a voxel of the finding, 0 where not, NaN
            where the finding is absent.
    """

    probabilities: Floats
    labels: npt.NDArray[np.bool_]
    hits: Floats


def score(
    model: ColipriModel, cases: Iterable[StoredCase], spec: PreprocessSpec, directions: Tensor
) -> Scores:
    """Score phantoms one by one, as a run does to validate.

    Args:
        model: The model, in evaluation mode.
        cases: Phantoms on the model grid.
        spec: The model grid.
        directions: (F, E) from `prompts.prompt_directions`.
    """
    rows: list[tuple[Floats, npt.NDArray[np.bool_], Floats]] = []
    for case in cases:
        with torch.inference_mode():
            grid = model.image_features(normalise(case, spec)[None, None])
            pooled = F.normalize(model.project_and_pool(grid), dim=1)
            logits = margins(pooled, directions, float(model.softmax_temperature))[0]
        labels = np.isin(np.arange(len(directions)), case.present)
        rows.append((logistic(logits), labels, hits(model, grid, directions, case.lesions)))
    probabilities, labels, found = (np.stack(column) for column in zip(*rows, strict=True))
    return Scores(probabilities=probabilities, labels=labels, hits=found)


def margins(vectors: Tensor, directions: Tensor, temperature: float) -> Floats:
    """(N, F) logits: difference of cosine similarities / temperature.

    Args:
        vectors: (N, E) unit vectors of volumes.
        directions: (F, E) from absence to presence.
        temperature: The model's.
    """
    return np.asarray((vectors.double() @ directions.double().T / temperature).cpu().numpy(), dtype=np.float64)


def logistic(logits: Floats) -> Floats:
    """Probabilities of logits, without overflow."""
    return np.asarray(torch.sigmoid(torch.from_numpy(logits)).numpy(), dtype=np.float64)


def hits(model: ColipriModel, grid: Tensor, directions: Tensor, lesions: npt.NDArray[np.int32]) -> Floats:
    """(F,) whether each map's best patch has its centre within one patch edge of a voxel of the finding.

    Args:
        model: The model.
        grid: Raw patch grid (1, C, x, y, z) of the volume.
        directions: (F, E) from absence to presence.
        lesions: (X, Y, Z), bit f set where finding f is.

    Returns:
        1 or 0; NaN where the finding is absent.
    """
    with torch.inference_mode():
        dense = F.normalize(model.dense(grid), dim=1)
        maps = torch.einsum("exyz,fe->fxyz", dense[0], directions.to(dense)).cpu().numpy()
    patch = model.config.image.patch_size
    found = np.full(len(maps), np.nan)
    for index in range(len(maps)):
        voxels = np.argwhere((lesions >> index) & 1)
        if len(voxels):
            peak = np.array(np.unravel_index(maps[index].argmax(), maps[index].shape))
            centre = (peak + 0.5) * patch - 0.5
            found[index] = float(np.linalg.norm(voxels - centre, axis=1).min() <= patch)
    return found


def normalise(case: StoredCase, spec: PreprocessSpec) -> Tensor:
    """Bring a stored phantom to model input (X, Y, Z) in [-1, 1]."""
    low, high = spec.intensity_window
    hu = torch.from_numpy(case.hu.astype(np.float32)).clamp(low, high)
    return (hu - low) / (high - low) * 2 - 1


def macro_auroc(scores: Scores) -> float:
    """Mean AUROC over the findings that have both labels."""
    return float(np.nanmean([auroc(scores, finding) for finding in range(scores.labels.shape[1])]))


def auroc(scores: Scores, finding: int) -> float:
    """AUROC of one finding; NaN if only one label occurs."""
    labels = scores.labels[:, finding]
    if labels.all() or not labels.any():
        return float("nan")
    return float(roc_auc_score(labels, scores.probabilities[:, finding]))


def pointing(scores: Scores) -> float:
    """Share of focal findings, over all cases that have them, whose map peaks within one patch edge of them."""
    return float(np.nanmean(scores.hits[:, FOCAL]))
