"""Vectors of a volume and of its parts, for finding similar cases.

The vector of a whole volume is the pooled embedding. A part is the mean of the unit vectors of its tokens, each
weighted by the share of it that lies in the part. A token's vector comes through the value path of the pooler;
attention over a single token has the same result, so parts and wholes live in one space.

What a store keeps of a case are the cells of a regular grid, so that a lesion can be found wherever it is, and six lung
zones, which say more of diffuse disease.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from einops import reduce
from torch import Tensor

from colipri_core.cases import Embedding
from colipri_core.cases import RegionEmbedding
from colipri_core.cases import RegionMask
from colipri_core.cases import Vector
from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.body import token_fraction
from colipri_core.inference.features import Features
from colipri_core.inference.features import Stopwatch
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.preprocess import token_geometry
from colipri_core.progress import Reporter
from colipri_core.vocabulary.wordings import wording

Weights = npt.NDArray[np.float64]

CELL_MM = 32.0
"""Edge of a grid cell (our choice: one token of the shipped model, 2 x 2 x 2 of the published one)."""

MIN_CELL_SHARE = 0.5
"""A cell is kept if at least this share of it lies in the body (our choice)."""

_MAX_VOXELS = 2_000_000
_ZONES = ("lower", "middle", "upper")


def region_vector(features: Features, dense: Tensor, region: RegionMask) -> Vector:
    """Return the unit vector (E,) of a part of the volume.

    Args:
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
        region: The part, in the volume's own grid.

    Raises:
        ValueError: If it has no voxel, or none the model looks at.
    """
    tokens = _token_grid(features, dense)
    indices = np.argwhere(region.mask)
    if not len(indices):
        msg = "The region has no voxel. Draw or select something first."
        raise ValueError(msg)
    indices = indices[:: max(1, len(indices) // _MAX_VOXELS)] + np.asarray(region.lower)
    positions = tokens.world_to_index(features.prepared.source.index_to_world(indices))
    nearest = np.rint(positions).astype(int)
    inside = ((nearest >= 0) & (nearest < np.asarray(tokens.shape))).all(axis=1)
    if not inside.any():
        msg = "The region lies outside what the model looks at. Choose a place nearer to the centre of the scan."
        raise ValueError(msg)
    flat = np.ravel_multi_index(tuple(nearest[inside].T), tokens.shape)
    weights = np.bincount(flat, minlength=int(np.prod(tokens.shape))).astype(np.float64)
    return _pooled(dense, weights.reshape(tokens.shape))


def region_embeddings(features: Features, dense: Tensor) -> tuple[RegionEmbedding, ...]:
    """Return the vectors of the parts a store keeps: grid cells in the body, then lung zones.

    Args:
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of the tokens.
    """
    return (*_cells(features, dense), *_lung_zones(features, dense))


def embed_texts(
    runtime: ModelRuntime, texts: Sequence[str], *, contrast: bool, report: Reporter
) -> tuple[Embedding, ...]:
    """Return the vectors of texts.

    Args:
        runtime: The loaded model.
        texts: Phrases or sentences.
        contrast: Return the difference of a phrase's present and absent sides instead of the text as it stands.
        report: Told of the progress.

    Raises:
        ValueError: If a text is empty.
    """
    questions = [wording(text) for text in texts]  # refuses empty text
    asked = [text for question in questions for text in (*question.present, *question.absent)] if contrast else texts
    stopwatch = Stopwatch()
    with stopwatch("text"):
        vectors = runtime.on_device(lambda: _encoded(runtime, asked, report)) if asked else []
        if contrast:
            pairs = [runtime.texts.pair(question, runtime.device) for question in questions]
            vectors = [torch.nn.functional.normalize(pair.direction, dim=0) for pair in pairs]
    return tuple(
        Embedding(
            vector=vector.numpy(),
            provenance=runtime.provenance(timings=stopwatch.seconds, warnings=runtime.texts.warnings([text])),
        )
        for text, vector in zip(texts, vectors, strict=True)
    )


def _encoded(runtime: ModelRuntime, texts: Sequence[str], report: Reporter) -> list[Tensor]:
    return list(runtime.texts.embed(texts, runtime.device, report))


def _token_grid(features: Features, dense: Tensor) -> VolumeGeometry:
    return token_geometry(features.prepared.geometry, features.prepared.geometry.shape[0] // dense.shape[1])


def _cells(features: Features, dense: Tensor) -> Iterator[RegionEmbedding]:
    """Blocks of tokens; the last along an axis is dropped where a whole one does not fit."""
    tokens = _token_grid(features, dense)
    edge = max(1, min(round(CELL_MM / max(tokens.spacing)), *tokens.shape))
    counts = tuple(size // edge for size in tokens.shape)
    x, y, z = (count * edge for count in counts)
    pattern = "(x a) (y b) (z c) -> x y z"
    blocks = {"a": edge, "b": edge, "c": edge}
    share = token_fraction(features.body.inside, tokens.shape)[:x, :y, :z]
    shares = reduce(share, pattern, "mean", **blocks)
    weighted = dense[:, :x, :y, :z].double().numpy() * share
    sums = reduce(weighted, f"e {pattern.replace('->', '-> e')}", "sum", **blocks)
    for index in np.argwhere(shares >= MIN_CELL_SHARE):
        vector = _unit(sums[(slice(None), *index)])
        center = tokens.index_to_world(index * edge + (edge - 1) / 2)
        yield RegionEmbedding(name="", center_ras=center, vector=vector)


def _lung_zones(features: Features, dense: Tensor) -> Iterator[RegionEmbedding]:
    """Left and right lung in thirds of its height, from Hounsfield units alone; the patient's midline divides them."""
    tokens = _token_grid(features, dense)
    share = token_fraction(features.body.lung, tokens.shape)
    if not share.any():
        return
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in tokens.shape), indexing="ij"), axis=-1)
    position = tokens.index_to_world(grid)
    right, height = position[..., 0], position[..., 2]
    lung = share > 0
    middle = float(np.average(right, weights=token_fraction(features.body.inside, tokens.shape)))
    low, high = float(height[lung].min()), float(height[lung].max())
    thirds = np.clip(((height - low) / max(high - low, 1e-6) * 3).astype(int), 0, 2)
    for side, on_side in (("Right", right > middle), ("Left", right <= middle)):
        for third, zone in enumerate(_ZONES):
            weights = np.where(on_side & (thirds == third), share, 0.0)
            if weights.sum() > 0:
                center = (position * weights[..., None]).sum(axis=(0, 1, 2)) / weights.sum()
                yield RegionEmbedding(
                    name=f"{side} {zone} lung zone", center_ras=center, vector=_pooled(dense, weights)
                )


def _pooled(dense: Tensor, weights: Weights) -> Vector:
    return _unit(dense.flatten(1).double().numpy() @ weights.ravel())


def _unit(vector: npt.NDArray[np.float64]) -> Vector:
    return cast(Vector, (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32))
