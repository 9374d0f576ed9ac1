"""Zero-shot scores on phantoms: AUROC of each finding, and whether the evidence map peaks on the lesion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from sklearn.metrics import roc_auc_score
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.store import StoredCase
from colipri_training.evaluation.bootstrap import confidence_interval

Tokenize = Callable[[list[str], int], tuple[Tensor, Tensor]]
Prompts = list[tuple[list[str], list[str]]]
"""For each finding the affirming and the denying wordings."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Raw predictions of N cases over F findings.

    Args:
        probabilities: (N, F).
        labels: (N, F) bool.
        hits: (N, F) 1 where the map's peak lies within one patch edge of a voxel of the finding, 0 where not, NaN
            where the finding is absent.
    """

    probabilities: npt.NDArray[np.float64]
    labels: npt.NDArray[np.bool_]
    hits: npt.NDArray[np.float64]


def prompt_vectors(model: ColipriModel, prompts: Prompts, tokenize: Tokenize) -> tuple[Tensor, Tensor]:
    """Mean text vectors (F, E), L2-normalised, of the affirming and of the denying wordings."""
    sides = []
    with torch.inference_mode():
        for side in (0, 1):
            vectors = [model.encode_text(*tokenize(pair[side], 64)).mean(dim=0) for pair in prompts]
            sides.append(F.normalize(torch.stack(vectors), dim=1))
    return sides[0], sides[1]


def score(
    model: ColipriModel, cases: Iterable[StoredCase], spec: PreprocessSpec, texts: tuple[Tensor, Tensor]
) -> Scores:
    """Score cases.

    Args:
        model: The model, in evaluation mode.
        cases: Phantoms on the model grid.
        spec: The model grid.
        texts: What `prompt_vectors` returned.
    """
    affirming, denying = texts
    patch = model.config.image.patch_size
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for case in cases:
        with torch.inference_mode():
            grid = model.image_features(normalise(case, spec))
            pooled = F.normalize(model.project_and_pool(grid), dim=1)
            dense = F.normalize(model.dense(grid), dim=1)
            logit = (pooled @ (affirming - denying).T)[0] / model.softmax_temperature
            maps = torch.einsum("exyz,fe->fxyz", dense[0], affirming - denying)
        labels = np.isin(np.arange(len(affirming)), case.present)
        rows.append((torch.sigmoid(logit).double().numpy(), labels, lesion_hits(maps.numpy(), case, patch)))
    probabilities, labels, hits = (np.stack(column) for column in zip(*rows, strict=True))
    return Scores(probabilities=probabilities, labels=labels, hits=hits)


def normalise(case: StoredCase, spec: PreprocessSpec) -> Tensor:
    """Bring a stored phantom to model input (1, 1, X, Y, Z)."""
    low, high = spec.intensity_window
    hu = torch.from_numpy(case.hu.astype(np.float32)).clamp(low, high)
    return ((hu - low) / (high - low) * 2 - 1)[None, None]


def macro_auroc(scores: Scores, cases: npt.NDArray[np.intp] | None = None) -> float:
    """Mean AUROC over the findings that have both labels among the cases."""
    values = [auroc(scores, finding, cases) for finding in range(scores.labels.shape[1])]
    return float(np.nanmean(values))


def auroc(scores: Scores, finding: int, cases: npt.NDArray[np.intp] | None = None) -> float:
    """AUROC of one finding; NaN if only one label occurs."""
    picked = slice(None) if cases is None else cases
    labels = scores.labels[picked, finding]
    if labels.all() or not labels.any():
        return float("nan")
    return float(roc_auc_score(labels, scores.probabilities[picked, finding]))


def report(scores: Scores) -> dict:
    """All figures as plain values: macro AUROC with interval, a row a finding, the pointing game over focal ones."""
    cases = len(scores.labels)
    rows = [_row(scores, index) for index in range(len(CT_RATE_FINDINGS))]
    focal = np.array([concept.focal for concept in CT_RATE_CONCEPTS])
    low, high = confidence_interval(lambda picked: macro_auroc(scores, picked), cases)
    hit_low, hit_high = confidence_interval(lambda picked: float(np.nanmean(scores.hits[picked][:, focal])), cases)
    return {
        "cases": cases,
        "macro_auroc": {"value": macro_auroc(scores), "low": low, "high": high},
        "pointing_game_focal": {"value": pointing(scores), "low": hit_low, "high": hit_high},
        "findings": rows,
    }


def pointing(scores: Scores) -> float:
    """Share of focal findings, over all cases that have them, whose map peaks within one patch edge of them."""
    focal = np.array([concept.focal for concept in CT_RATE_CONCEPTS])
    return float(np.nanmean(scores.hits[:, focal]))


def default_prompts() -> Prompts:
    """Plain wordings of the 18 findings: "{term} present." against "no {term} present."."""
    return [
        ([f"{term} present." for term in concept.terms], [f"no {term} present." for term in concept.terms])
        for concept in CT_RATE_CONCEPTS
    ]


def _row(scores: Scores, finding: int) -> dict:
    labels = scores.labels[:, finding]
    low, high = confidence_interval(lambda picked: auroc(scores, finding, picked), len(labels), resamples=200)
    shown = scores.hits[labels, finding]
    return {
        "name": CT_RATE_FINDINGS[finding],
        "positive": int(labels.sum()),
        "auroc": auroc(scores, finding),
        "auroc_low": low,
        "auroc_high": high,
        "auprc": float(average_precision_score(labels, scores.probabilities[:, finding])),
        "pointing": float(np.nanmean(shown)) if shown.size else float("nan"),
        "focal": CT_RATE_CONCEPTS[finding].focal,
    }


def lesion_hits(maps: np.ndarray, case: StoredCase, patch: int) -> np.ndarray:
    """Whether the centre of each map's best patch lies within one patch edge of a voxel of the finding."""
    hits = np.full(len(maps), np.nan)
    for index in case.present:
        peak = np.array(np.unravel_index(maps[index].argmax(), maps[index].shape))
        voxels = np.argwhere((case.lesions >> index) & 1)
        centre = (peak + 0.5) * patch - 0.5
        hits[index] = float(np.linalg.norm(voxels - centre, axis=1).min() <= patch)
    return hits
