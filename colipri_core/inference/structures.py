"""Outlines of structures: class probabilities of the structure head, brought to the volume's own grid.

Probabilities are interpolated, not labels, so that outlines follow the anatomy between model voxels instead of their
steps. The source grid is painted slab by slab, and a class is only interpolated where it can win: with K classes the
winner has a probability of at least 1/K, and so has one of the model voxels around it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from colipri_core.errors import CapabilityError
from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.features import Features
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.preprocess import map_to_source
from colipri_core.progress import Reporter
from colipri_core.segmentation import Segment
from colipri_core.vocabulary.structures import StructureConcept

Probabilities = npt.NDArray[np.float32]
Labelmap = npt.NDArray[np.uint8]

_SLAB_VOXELS = 12_000_000


def known_structures(runtime: ModelRuntime) -> tuple[StructureConcept, ...]:
    """Return what the model's structure head outlines, in the order of its classes; empty without a head."""
    spec = runtime.bundle.spec.structures
    return spec.concepts if spec is not None else ()


def chosen_segments(
    known: Sequence[StructureConcept], names: Sequence[str] | None, *, model: str
) -> tuple[Segment, ...]:
    """Return the segments asked for; a structure's label is its class in the model, whatever else is asked for.

    Args:
        known: What the model outlines, in the order of its classes.
        names: Names of structures (case does not matter), or None for all.
        model: The model's name, for messages.

    Raises:
        CapabilityError: If the model has no structure head.
        ValueError: If a name is unknown to the model; the message lists those it knows.
    """
    if not known:
        msg = f'The model "{model}" has no structure head. Open one that has, such as "tiny".'
        raise CapabilityError(msg)
    labels = {concept.name.lower(): label for label, concept in enumerate(known, start=1)}
    wanted = [name.strip().lower() for name in names] if names is not None else list(labels)
    unknown = [name for name in wanted if name not in labels]
    if unknown or not wanted:
        found = f'"{unknown[0]}"' if unknown else "an empty list"
        msg = f"Expected structures this model outlines, got {found}. It knows: {', '.join(c.name for c in known)}."
        raise ValueError(msg)
    return tuple(
        Segment(label=label, name=concept.name, code=concept.code, color=concept.color)
        for label, concept in enumerate(known, start=1)
        if concept.name.lower() in wanted
    )


def structure_probabilities(features: Features, runtime: ModelRuntime) -> Probabilities:
    """Return class probabilities (K, X, Y, Z) of the structure head; class 0 is background.

    Args:
        features: What is known of the volume.
        runtime: The loaded model, with a structure head.
    """
    head = runtime.structure_head()

    def work() -> torch.Tensor:
        image = torch.from_numpy(features.prepared.array)[None, None].to(runtime.device)
        logits: torch.Tensor = head(image, features.grid.to(runtime.device, torch.float32))
        return logits[0].float().softmax(dim=0).cpu()

    return np.asarray(runtime.on_device(work).numpy(), dtype=np.float32)


def expected_error(probabilities: Probabilities) -> float:
    """Return the share of wrong voxels that a model expects among those it takes for a structure, in [0, 1].

    The expected number of wrong voxels, the sum of 1 - max p, over the expected number of structure voxels, the sum of
    1 - p of the background. A calibrated model that outlines with a Dice near 1 is near 0; it is our choice of the
    least-confidence score of active learning (Settles, 2009), made independent of the size of the scan.

    Args:
        probabilities: (K, X, Y, Z), summing to 1 over K; class 0 is background.
    """
    claimed = float((1 - probabilities[0]).sum(dtype=np.float64))
    wrong = float((1 - probabilities.max(axis=0)).sum(dtype=np.float64))
    return 0.0 if claimed <= 0 else min(1.0, wrong / claimed)


def paint(
    probabilities: Probabilities, grid: VolumeGeometry, source: VolumeGeometry, *, keep: Sequence[int], report: Reporter
) -> Labelmap:
    """Return the most probable class of every voxel of the volume's own grid.

    Args:
        probabilities: (K, X, Y, Z), summing to 1 over K; class 0 is background.
        grid: Where the probabilities lie.
        source: The volume's grid.
        keep: Classes to paint; where another class wins stays 0.
        report: Told of the progress, slab by slab.

    Returns:
        uint8 labelmap in Fortran order, 0 outside the model's field of view.
    """
    labelmap = np.zeros(source.shape, dtype=np.uint8, order="F")
    columns, rows, depth = source.shape
    step = max(1, _SLAB_VOXELS // (columns * rows))
    regions = [_winning_region(layer, grid, len(probabilities)) for layer in probabilities]
    for start in range(0, depth, step):
        report(start / depth, "Outlining structures")
        stop = min(start + step, depth)
        slab = source.cropped((0, 0, start), (columns, rows, stop - start))
        labelmap[:, :, start:stop] = _paint_slab(probabilities, grid, slab, regions)
    dropped = sorted(set(range(1, len(probabilities))) - set(keep))
    if dropped:
        table = np.arange(len(probabilities), dtype=np.uint8)
        table[dropped] = 0
        labelmap = np.asfortranarray(table[labelmap])
    return labelmap


def _paint_slab(
    probabilities: Probabilities,
    grid: VolumeGeometry,
    slab: VolumeGeometry,
    regions: Sequence[npt.NDArray[np.float64] | None],
) -> Labelmap:
    labels = np.zeros(slab.shape, dtype=np.uint8, order="F")
    best = map_to_source(probabilities[0], grid, slab, order=1, fill=1.0)
    for label, region in enumerate(regions):
        box = _box(region, slab) if label > 0 and region is not None else None
        if box is None:
            continue
        part = slab.cropped([s.start for s in box], [s.stop - s.start for s in box])
        values = map_to_source(probabilities[label], grid, part, order=1, fill=0.0)
        wins = values > best[box]
        np.copyto(best[box], values, where=wins)
        labels[box][wins] = label
    return labels


def _winning_region(layer: Probabilities, grid: VolumeGeometry, classes: int) -> npt.NDArray[np.float64] | None:
    """World positions of the corners of the box a class can win in, one model voxel wider; None if nowhere."""
    possible = layer >= 1.0 / classes
    if not possible.any():
        return None
    spans = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        indices = np.flatnonzero(possible.any(axis=other))
        spans.append((indices[0] - 1.0, indices[-1] + 1.0))
    return grid.index_to_world(np.asarray(list(itertools.product(*spans))))


def _box(corners: npt.NDArray[np.float64], slab: VolumeGeometry) -> tuple[slice, slice, slice] | None:
    positions = slab.world_to_index(corners)
    start = np.maximum(np.floor(positions.min(axis=0)).astype(int), 0)
    stop = np.minimum(np.ceil(positions.max(axis=0)).astype(int) + 1, slab.shape)
    if (start >= stop).any():
        return None
    x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return x, y, z
