"""Validation during a pretraining: zero-shot AUROC, the pointing game on phantoms, and retrieval with reports.

Every process encodes its share of the volumes, and all of them come to know all figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.batches import Tokenize
from colipri_training.data.examples import Example
from colipri_training.data.examples import Examples
from colipri_training.distributed import gather_rows
from colipri_training.distributed import world
from colipri_training.evaluation import zero_shot

RANKS = (1, 5, 10)
_PROMPT_LENGTH = 64

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What a model makes of N volumes; F findings, E channels of the joint space.

    Args:
        images: (N, E) unit vectors.
        reports: (N, E) unit vectors; zeros where there is no report.
        scores: (N, F) cosine with the affirming less that with the denying wordings.
        labels: (N, F) 1 present, 0 absent, -1 unknown.
        hits: (N, F) as `zero_shot.lesion_hits` has them; NaN for patients.
    """

    images: Floats
    reports: Floats
    scores: Floats
    labels: Floats
    hits: Floats


class Validation:
    """Figures of a model on a validation set.

    Args:
        examples: The set.
        tokenize: The run's tokenizer.
        max_report_length: Longest report in word pieces.
    """

    def __init__(self, examples: Examples, tokenize: Tokenize, *, max_report_length: int) -> None:
        self._examples = examples
        self._tokenize = tokenize
        self._max_report_length = max_report_length

    def __call__(self, model: ColipriModel) -> dict[str, float]:
        """Measure a model; every process must ask.

        Args:
            model: In evaluation mode, with the same weights on every process.

        Returns:
            Figures by name; what the set cannot tell, for want of labels or reports, is left out.
        """
        if not len(self._examples):
            return {}
        reports = self._examples.reports()
        rows = self._rows(model, reports)
        figures = {"validation_volumes": float(len(rows.images)), **classification(rows)}
        told = [index for index, report in enumerate(reports) if report is not None]
        if len(told) > 1:
            texts = [reports[index] or "" for index in told]
            figures |= retrieval(rows.images[told] @ rows.reports[told].T, texts)
        return {name: round(value, 4) for name, value in figures.items()}

    @torch.inference_mode()
    def _rows(self, model: ColipriModel, reports: Sequence[str | None]) -> Rows:
        """Encode this process's share and gather all; the last share is filled up with its last volume."""
        here, count = world(), len(reports)
        share = -(-count // here.size)
        own = [min(place, count - 1) for place in range(here.rank * share, (here.rank + 1) * share)]
        directions = self._directions(model)
        known: dict[int, tuple[Tensor, ...]] = {}
        for place in own:
            if place not in known:
                known[place] = self._encode(model, self._examples[place], reports[place], directions)
        columns = zip(*(known[place] for place in own), strict=True)
        found = [gather_rows(torch.stack(column))[:count].float().cpu().numpy() for column in columns]
        return Rows(**dict(zip(("images", "reports", "scores", "labels", "hits"), found, strict=True)))

    def _encode(
        self, model: ColipriModel, example: Example, report: str | None, directions: Tensor
    ) -> tuple[Tensor, ...]:
        """One row: image (E), report (E), scores, labels and hits (F)."""
        device = directions.device
        grid = model.image_features(example.image[None, None].to(device)).float()
        image = F.normalize(model.project_and_pool(grid).float(), dim=1)[0]
        text = torch.zeros_like(image)
        if report is not None:
            text = model.encode_text(*self._onto(model)([report], self._max_report_length))[0].float()
        hits = torch.full((len(directions),), torch.nan, device=device)
        with torch.autocast(device.type, enabled=False):  # scores must keep their last bits: they are ranked
            if example.case is not None:
                maps = torch.einsum("exyz,fe->fxyz", F.normalize(model.dense(grid), dim=1)[0], directions)
                found = zero_shot.lesion_hits(maps.cpu().numpy(), example.case, model.config.image.patch_size)
                hits = torch.from_numpy(found).to(hits)
            return image, text, directions @ image, torch.from_numpy(example.labels).to(device), hits

    def _directions(self, model: ColipriModel) -> Tensor:
        """(F, E) from the denying to the affirming wordings of each finding, means over its terms of unit length."""
        sides = []
        for pattern in ("{} present.", "no {} present."):
            texts = [[pattern.format(term) for term in concept.terms] for concept in CT_RATE_CONCEPTS]
            means = [model.encode_text(*self._onto(model)(each, _PROMPT_LENGTH)).float().mean(dim=0) for each in texts]
            sides.append(F.normalize(torch.stack(means), dim=1))
        return sides[0] - sides[1]

    def _onto(self, model: ColipriModel) -> Tokenize:
        """The tokenizer, with its results where the model is."""
        device = next(model.parameters()).device

        def tokenize(texts: list[str], length: int) -> tuple[Tensor, Tensor]:
            ids, mask = self._tokenize(texts, length)
            return ids.to(device), mask.to(device)

        return tokenize


def classification(rows: Rows) -> dict[str, float]:
    """Zero-shot AUROC of the findings that have both labels, their mean, and the share of hits on focal findings."""
    figures = {}
    for index, name in enumerate(CT_RATE_FINDINGS):
        known = rows.labels[:, index] >= 0
        labels = rows.labels[known, index]
        if labels.any() and not labels.all():
            figures[f"auroc/{name}"] = float(roc_auc_score(labels, rows.scores[known, index]))
    if figures:
        figures["validation_macro_auroc"] = float(np.mean(list(figures.values())))
    focal = rows.hits[:, [concept.focal for concept in CT_RATE_CONCEPTS]]
    if not np.isnan(focal).all():
        figures["validation_pointing"] = float(np.nanmean(focal))
    return figures


def retrieval(similarity: Floats, texts: Sequence[str]) -> dict[str, float]:
    """Recall at K both ways: the share of queries whose K best matches hold a right one.

    Scores mean nothing without the size of the pool, which stands beside them. Volumes whose reports are the same
    text are right answers for one another. Ties count against the model.

    Args:
        similarity: (N, N) of volumes with reports.
        texts: The N reports.

    Returns:
        "retrieval/pool", and "retrieval/image_to_report_r1" and so on for every K below the size of the pool.
    """
    same = np.array([[text == other for other in texts] for text in texts])
    figures = {"retrieval/pool": float(len(texts))}
    for name, scores in (("image_to_report", similarity), ("report_to_image", similarity.T)):
        best = np.where(same, scores, -np.inf).max(axis=1, keepdims=True)
        ranks = ((scores >= best) & ~same).sum(axis=1)
        figures |= {f"retrieval/{name}_r{k}": float((ranks < k).mean()) for k in RANKS if k < len(texts)}
    return figures
