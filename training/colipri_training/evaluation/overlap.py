"""Overlap of outlines with reference masks: Dice, and surface Dice at a tolerance (NSD), both by MONAI.

NSD is the share of both surfaces that lies within 3 mm of the other (Nikolov et al., 2018; the tolerance is that of
TotalSegmentator, Wasserthal et al., 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from torch import Tensor

from colipri_training.evaluation.cases import Reference
from colipri_training.evaluation.cases import structure_names

TOLERANCE_MM = 3.0
_BODY = "Body"

Mask = npt.NDArray[np.bool_]


def dice(first: Mask, second: Mask) -> float:
    """Dice overlap of two masks of the same shape; 1 if both are empty."""
    return float(compute_dice(*_tensors(first, second), include_background=True, ignore_empty=False))


def surface_dice(
    found: Mask, reference: Mask, spacing_mm: Sequence[float], *, tolerance_mm: float = TOLERANCE_MM
) -> float:
    """Share of the surfaces of two masks that lie within a tolerance of each other; 1 if both are empty.

    Surfaces are triangulated as in the metric's own publication, so that voxels of any shape count by their area.

    Args:
        found: A mask.
        reference: Another of the same shape.
        spacing_mm: Voxel size along the axes of the masks.
        tolerance_mm: What still counts as the same place.
    """
    if not found.any() or not reference.any():
        return float(found.any() == reference.any())
    first, second = _tensors(found, reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI calls its own function in a way it has deprecated
        value = compute_surface_dice(
            first,
            second,
            class_thresholds=[tolerance_mm],
            include_background=True,
            spacing=list(spacing_mm),
            use_subvoxels=True,
        )
    return float(value)


def structure_overlaps(
    labels: npt.NDArray[np.integer[Any]], names: Sequence[str], reference: Reference, spacing_mm: Sequence[float]
) -> dict[str, dict[str, float]]:
    """Compare an outlined labelmap with a reference, for every structure that is there.

    Args:
        labels: (X, Y, Z), label n is structure n - 1 of `names`.
        names: What the model outlines.
        reference: The reference, on the same grid.
        spacing_mm: Voxel size of the grid.

    Returns:
        Dice and NSD by name; structures that the reference does not show are left out.
    """
    truth = reference_labels(names, reference)
    pairs = ((name, labels == label, truth == label) for label, name in enumerate(names, start=1))
    return {
        name: {"dice": dice(found, mask), "nsd": surface_dice(found, mask, spacing_mm)}
        for name, found, mask in pairs
        if mask.any()
    }


def reference_labels(names: Sequence[str], reference: Reference) -> npt.NDArray[np.int64]:
    """Bring a reference labelmap to the labels of a head: what the head does not know is body, if it outlines that."""
    known = {name: label for label, name in enumerate(names, start=1)}
    body = known.get(_BODY, 0)
    highest = max(int(reference.structures.max()), len(structure_names()))
    table = np.full(highest + 1, body, dtype=np.int64)
    table[0] = 0
    for label, name in enumerate(structure_names(), start=1):
        table[label] = known.get(name, body)
    return table[reference.structures]


def _tensors(first: Mask, second: Mask) -> tuple[Tensor, Tensor]:
    """Two masks as MONAI wants them, (1, 1, X, Y, Z)."""
    left, right = (torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (first, second))
    return left, right
