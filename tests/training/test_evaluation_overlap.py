"""Dice and surface Dice of outlines by hand, and how a reference labelmap is brought to what a head outlines."""

from __future__ import annotations

import numpy as np
import pytest

from colipri_training.evaluation.cases import Reference
from colipri_training.evaluation.overlap import dice
from colipri_training.evaluation.overlap import reference_labels
from colipri_training.evaluation.overlap import structure_overlaps
from colipri_training.evaluation.overlap import surface_dice


def cube(start: int, size: int = 10) -> np.ndarray:
    mask = np.zeros((24, 24, 24), dtype=bool)
    mask[start : start + size, 4 : 4 + size, 4 : 4 + size] = True
    return mask


def test_dice_by_hand() -> None:
    assert dice(cube(4), cube(4)) == 1.0
    assert dice(cube(4), cube(9)) == pytest.approx(0.5)
    assert dice(cube(4), np.zeros_like(cube(4))) == 0.0
    assert dice(*(np.zeros_like(cube(4)),) * 2) == 1.0


def test_surfaces_within_the_tolerance_count() -> None:
    shifted_by_one_voxel = cube(4), cube(5)

    assert surface_dice(*shifted_by_one_voxel, (2.0, 2.0, 2.0)) == 1.0
    assert surface_dice(*shifted_by_one_voxel, (4.0, 4.0, 4.0)) < 0.9


def test_the_spacing_of_each_axis_counts() -> None:
    masks = cube(4), cube(6)

    assert surface_dice(*masks, (1.0, 4.0, 4.0)) == 1.0
    assert surface_dice(*masks, (4.0, 1.0, 1.0)) < 0.9


def test_an_empty_mask_has_no_surface() -> None:
    empty = np.zeros_like(cube(4))

    assert surface_dice(cube(4), empty, (1.0, 1.0, 1.0)) == 0.0
    assert surface_dice(empty, empty, (1.0, 1.0, 1.0)) == 1.0


def test_what_a_head_does_not_outline_is_body() -> None:
    # Labels of the reference: 1 body, 2 left upper lobe, 7 heart, 10 liver, 16 kidneys.
    structures = np.array([0, 1, 2, 7, 10, 16], dtype=np.uint8).reshape(6, 1, 1)
    reference = Reference(structures=structures, lesions=np.zeros((6, 1, 1), dtype=np.int32))

    assert reference_labels(("Body", "Heart"), reference).ravel().tolist() == [0, 1, 1, 2, 1, 1]
    assert reference_labels(("Liver",), reference).ravel().tolist() == [0, 0, 0, 0, 1, 0]


def test_structures_the_reference_lacks_are_left_out() -> None:
    structures = np.where(cube(4), 7, 0).astype(np.uint8)
    reference = Reference(structures=structures, lesions=np.zeros(structures.shape, dtype=np.int32))
    found = structure_overlaps(np.where(cube(4), 2, 0), ("Liver", "Heart"), reference, (4.0, 4.0, 4.0))

    assert found == {"Heart": {"dice": 1.0, "nsd": 1.0}}
