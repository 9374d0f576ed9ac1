"""Volume: what it accepts, and what identifies it."""

from __future__ import annotations

import numpy as np
import pytest

from colipri_core.volume import Volume


def volume(**changes) -> Volume:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    return Volume(**{"voxels": voxels, "affine": np.diag([-1.0, -1, 2, 1]), **changes})


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 1), ()])
def test_only_three_axes(shape):
    with pytest.raises(ValueError, match="3 spatial axes"):
        volume(voxels=np.zeros(shape))


@pytest.mark.parametrize("dtype", [bool, complex, "U1", object])
def test_only_numbers(dtype):
    with pytest.raises(ValueError, match="integers or floats"):
        volume(voxels=np.zeros((2, 2, 2), dtype=dtype))


def test_reorientation_keeps_values_at_their_world_positions():
    original = volume()
    reoriented = original.reoriented("SRA")
    assert reoriented.orientation == "SRA"
    for index in np.ndindex(original.shape):
        place = original.geometry.index_to_world(index)
        moved = tuple(np.round(reoriented.geometry.world_to_index(place)).astype(int))
        assert reoriented.voxels[moved] == original.voxels[index]


def test_hash_depends_on_voxels_and_place_alone():
    original = volume()
    fortran = volume(voxels=np.asfortranarray(original.voxels), name="other", metadata={"a": 1})
    assert fortran.sha256 == original.sha256
    assert volume(affine=np.diag([-1.0, -1, 2.5, 1])).sha256 != original.sha256
    assert volume(voxels=original.voxels + np.int16(1)).sha256 != original.sha256
    assert volume(voxels=original.voxels.astype(np.int32)).sha256 != original.sha256


def test_replacing_voxels_renews_what_was_cached():
    original = volume()
    before = original.sha256
    replaced = original.replace_voxels(original.voxels[:, :, :2])
    assert replaced.shape == (2, 3, 2)
    assert replaced.geometry.shape == (2, 3, 2)
    assert replaced.sha256 != before
