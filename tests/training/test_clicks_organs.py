"""Organs, bones, hollow organs and vessels of the synthetic scenes: what belongs to an object lies where it should."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from colipri_training.clicks import organs
from colipri_training.clicks.canvas import Canvas

SIZE = 48
SEEDS = range(25)

Add = Callable[[np.random.Generator, Canvas], None]


def drawn(add: Add) -> list[Canvas]:
    """Canvases of organs in fat with one thing of a kind added to each."""
    made = []
    for seed in SEEDS:
        rng = np.random.default_rng([3, seed])
        canvas = Canvas(rng, SIZE)
        canvas.fill_with_organs()
        canvas.objects = []
        add(rng, canvas)
        made.append(canvas)
    return made


def parts_of(canvas: Canvas, label: int) -> list[int]:
    return [part for part, owner in canvas.owner.items() if owner == label]


def levels(canvas: Canvas, label: int, axis: int) -> np.ndarray:
    return np.asarray(np.nonzero(canvas.labels == label)[axis])


@pytest.mark.parametrize("add", [organs.add_organ, organs.add_bone, organs.add_hollow, organs.add_vessels])
class TestAll:
    def test_every_object_and_part_has_a_mean(self, add: Add) -> None:
        for canvas in drawn(add):
            assert set(np.unique(canvas.labels)) <= set(canvas.means)
            assert set(canvas.owner.values()) <= set(canvas.objects)
            assert set(canvas.textures) <= set(canvas.means)

    def test_most_can_be_seen(self, add: Add) -> None:
        seen = [any(canvas.whole(label).sum() > 50 for label in canvas.objects) for canvas in drawn(add)]
        assert sum(seen) >= 0.8 * len(seen)

    def test_they_depend_on_their_seed_alone(self, add: Add) -> None:
        for one, other in zip(drawn(add)[:3], drawn(add)[:3], strict=True):
            assert np.array_equal(one.labels, other.labels)
            assert one.means == other.means


def test_marrow_lies_within_a_denser_rim_or_fills_the_bone() -> None:
    rims = []
    for canvas in drawn(organs.add_bone):
        for bone in canvas.objects:
            (marrow,) = parts_of(canvas, bone)
            assert canvas.means[marrow] < canvas.means[bone]
            inside = canvas.labels == marrow
            if inside.any() and (canvas.labels == bone).any():
                beside = ndimage.binary_dilation(inside) & ~inside
                rims.append(float((canvas.labels[beside] == bone).mean()))
    assert len(rims) > 10
    assert min(rims) > 0.8


def test_bones_in_a_row_are_apart_and_look_alike() -> None:
    rows = [canvas for canvas in drawn(organs.add_bone) if len(canvas.objects) == 3]
    assert len(rows) > 3
    for canvas in rows:
        assert len({canvas.means[bone] for bone in canvas.objects}) == 1
        first, second, third = (canvas.whole(bone) for bone in canvas.objects)
        assert not (ndimage.binary_dilation(third) & (first | second)).any()


def test_gas_lies_on_one_side_of_what_a_hollow_organ_holds() -> None:
    checked = 0
    for canvas in drawn(organs.add_hollow):
        (wall,) = canvas.objects
        parts = [part for part in parts_of(canvas, wall) if (canvas.labels == part).any()]
        gas = [part for part in parts if canvas.means[part] < -840]
        if len(parts) < 2 or not gas:
            continue
        checked += 1
        (fluid,) = (part for part in parts if part != gas[0])
        assert any(levels(canvas, gas[0], axis).min() > levels(canvas, fluid, axis).max() for axis in range(3))
    assert checked > 3


def test_a_vein_runs_beside_its_artery() -> None:
    pairs = [canvas for canvas in drawn(organs.add_vessels) if len(canvas.objects) == 2]
    assert len(pairs) > 5
    for canvas in pairs:
        artery, vein = (canvas.whole(vessel) for vessel in canvas.objects)
        if artery.any() and vein.any():
            assert ndimage.distance_transform_edt(~artery)[vein].min() < 6
