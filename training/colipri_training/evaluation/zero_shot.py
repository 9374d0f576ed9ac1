"""Zero-shot scores of phantoms: probability of each finding, and whether the evidence map peaks on the lesion."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.store import StoredCase

Tokenize = Callable[[list[str], int], tuple[Tensor, Tensor]]
Prompts = Sequence[tuple[Sequence[str], Sequence[str]]]
"""For each finding the affirming and the denying wordings."""

FOCAL = np.array([concept.focal for concept in CT_RATE_CONCEPTS])
"""(18,) whether a finding has a place one can point at."""


class WithLesions(Protocol):
    """Anything that knows where findings are."""

    @property
    def lesions(self) -> npt.NDArray[np.int32]:
        """(X, Y, Z), bit f set where finding f is."""
        ...


def prompt_vectors(model: ColipriModel, prompts: Prompts, tokenize: Tokenize) -> tuple[Tensor, Tensor]:
    """Mean text vectors (F, E), L2-normalised, of the affirming and of the denying wordings."""
    sides = []
    with torch.inference_mode():
        for side in (0, 1):
            vectors = [model.encode_text(*tokenize(list(pair[side]), 64)).mean(dim=0) for pair in prompts]
            sides.append(F.normalize(torch.stack(vectors), dim=1))
    return sides[0], sides[1]


def normalise(case: StoredCase, spec: PreprocessSpec) -> Tensor:
    """Bring a stored phantom to model input (1, 1, X, Y, Z)."""
    low, high = spec.intensity_window
    hu = torch.from_numpy(case.hu.astype(np.float32)).clamp(low, high)
    return ((hu - low) / (high - low) * 2 - 1)[None, None]


def default_prompts() -> Prompts:
    """Plain wordings of the 18 findings: "{term} present." against "no {term} present."."""
    return [
        ([f"{term} present." for term in concept.terms], [f"no {term} present." for term in concept.terms])
        for concept in CT_RATE_CONCEPTS
    ]


def margins(vectors: Tensor, directions: Tensor, temperature: float) -> npt.NDArray[np.float64]:
    """(N, F) logits: difference of cosine similarities / temperature.

    Args:
        vectors: (N, E) unit vectors of volumes.
        directions: (F, E) from absence to presence.
        temperature: The model's.
    """
    return np.asarray((vectors.double() @ directions.double().T / temperature).numpy(), dtype=np.float64)


def lesion_hits(maps: npt.NDArray[np.float32], case: WithLesions, patch: int) -> npt.NDArray[np.float64]:
    """Whether the centre of each map's best patch lies within one patch edge of a voxel of the finding.

    Args:
        maps: (F, x, y, z) one value a patch.
        case: Knows where the findings are.
        patch: Edge of a patch in voxels.

    Returns:
        (F,) 1 or 0; NaN where the finding is absent.
    """
    hits = np.full(len(CT_RATE_FINDINGS), np.nan)
    for index, values in enumerate(maps):
        voxels = np.argwhere((case.lesions >> index) & 1)
        if len(voxels):
            peak = np.array(np.unravel_index(values.argmax(), values.shape))
            centre = (peak + 0.5) * patch - 0.5
            hits[index] = float(np.linalg.norm(voxels - centre, axis=1).min() <= patch)
    return hits
