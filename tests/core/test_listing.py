"""Rows, filters and the places to go to."""

from __future__ import annotations

import numpy as np
import pytest

from colipri_core.listing import FindingRow
from colipri_core.listing import matches
from colipri_core.listing import merged
from colipri_core.segmentation import label_centers


def row(name: str, probability: float) -> FindingRow:
    return FindingRow(name=name, code="", probability=probability, calibrated=False)


def test_rows_are_sorted_and_the_newer_answer_counts() -> None:
    rows = merged((row("Emphysema", 0.2), row("Lung nodule", 0.6)), (row("emphysema", 0.9),))

    assert [(item.name, item.probability) for item in rows] == [("emphysema", 0.9), ("Lung nodule", 0.6)]


@pytest.mark.parametrize(
    ("query", "found"), [("", True), ("  ", True), ("calc CORO", True), ("coronary x", False), ("aorta", False)]
)
def test_every_word_of_a_filter_must_occur(query: str, *, found: bool) -> None:
    assert matches("Coronary artery wall calcification", query) is found


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_centre_of_a_bent_structure_lies_in_it(axis: int) -> None:
    slices = np.zeros((4, 9, 9), np.uint8)
    slices[2, 1:8, 1:8] = 5
    slices[2, 2:7, 2:7] = 0
    slices[1, 1, 1] = 5
    labelmap = np.moveaxis(slices, 0, axis)

    centers = label_centers(labelmap, [5, 6], axis=axis)

    assert centers.keys() == {5}
    assert centers[5][axis] == 2
    assert labelmap[centers[5]] == 5
