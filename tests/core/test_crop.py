"""Masks kept as their bounding boxes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from colipri_core.prompts import Crop

SHAPE = (7, 6, 5)
VOXELS = st.lists(st.tuples(*(st.integers(0, size - 1) for size in SHAPE)), max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(VOXELS, max_size=4))
def test_a_union_holds_what_any_of_its_masks_holds(all_voxels: list[list[tuple[int, int, int]]]) -> None:
    masks = [np.zeros(SHAPE, dtype=bool) for _ in all_voxels]
    for mask, voxels in zip(masks, all_voxels, strict=True):
        for voxel in voxels:
            mask[voxel] = True
    found = Crop.union(Crop.around(mask) for mask in masks)
    wanted = np.any([np.zeros(SHAPE, dtype=bool), *masks], axis=0)
    assert np.array_equal(found.on_grid(SHAPE), wanted)
    assert found.is_empty == (not wanted.any())
    assert found.mask.shape == Crop.around(wanted).mask.shape
