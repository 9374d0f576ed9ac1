"""Prompts as values and as voxels, on grids of every orientation."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from geometry_strategies import geometries
from hypothesis import given
from hypothesis import strategies as st

from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts import Box
from colipri_core.prompts import Crop
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Scribble
from colipri_core.prompts import prompt_from_json
from colipri_core.prompts import prompt_mask

GRID = VolumeGeometry(shape=(30, 40, 20), affine=np.diag([-0.8, -0.8, 2.0, 1.0]))
shares = st.tuples(*[st.floats(0.0, 1.0)] * 3)


def place(geometry: VolumeGeometry, share: tuple[float, float, float]) -> tuple[float, float, float]:
    """A position in a grid, by its share of the way along each axis."""
    r, a, s = geometry.index_to_world(np.asarray(share) * (np.asarray(geometry.shape) - 1))
    return float(r), float(a), float(s)


def voxel(geometry: VolumeGeometry, ras: tuple[float, float, float]) -> tuple[int, ...]:
    return tuple(np.floor(geometry.world_to_index(ras) + 0.5).astype(int))


@pytest.mark.parametrize(
    "prompt",
    [
        Point(ras=(1, 2, 3), positive=False),
        Scribble(ras=((1, 2, 3), (4, 5.5, 6)), radius_mm=2.5),
        Box(lower_ras=(0, 0, 0), upper_ras=(1, 2, 3)),
        Lasso(ras=((0, 0, 0), (1, 0, 0), (0, 1, 0)), positive=False),
        Phrase(text="ground glass"),
    ],
)
def test_prompts_go_to_json_and_back(prompt: object) -> None:
    assert prompt_from_json(json.loads(json.dumps(prompt.to_json()))) == prompt


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"kind": "wish"}, "kind"),
        ({"kind": "point"}, "keys ras, positive"),
        ({"kind": "point", "ras": [1, 2]}, "three finite numbers"),
        ({"kind": "point", "ras": [1, 2, float("nan")]}, "three finite numbers"),
        ({"kind": "scribble", "ras": []}, "at least 1 position"),
        ({"kind": "scribble", "ras": [[1, 2, 3]], "radius_mm": 0}, "radius"),
        ({"kind": "lasso", "ras": [[1, 2, 3], [4, 5, 6]]}, "at least 3 positions"),
        ({"kind": "phrase", "text": "  "}, "words"),
    ],
)
def test_what_is_no_prompt_is_refused(document: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        prompt_from_json(document)


@given(geometries(), shares)
def test_a_point_covers_the_voxel_it_lies_in(geometry: VolumeGeometry, share: tuple[float, float, float]) -> None:
    ras = place(geometry, share)
    crop = prompt_mask(Point(ras=ras), geometry)
    assert crop.mask.shape == (1, 1, 1)
    assert crop.mask.all()
    assert np.abs(geometry.world_to_index(ras) - crop.lower).max() <= 0.5 + 1e-6


@given(geometries(largest=16), st.lists(shares, min_size=1, max_size=4), st.floats(0.3, 12.0))
def test_a_scribble_covers_what_lies_within_its_radius_and_what_it_passes(
    geometry: VolumeGeometry, way: list[tuple[float, float, float]], radius: float
) -> None:
    path = np.array([place(geometry, share) for share in way])
    mask = prompt_mask(Scribble(ras=path, radius_mm=radius), geometry).on_grid(geometry.shape)
    dense = np.concatenate([np.linspace(a, b, 400) for a, b in zip(path, [*path[1:], path[-1]], strict=True)])
    centres = geometry.index_to_world(np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1))
    distance = np.min([np.linalg.norm(centres - point, axis=-1) for point in dense[::40]], axis=0)
    reach = distance.max() if len(dense) < 2 else np.linalg.norm(np.diff(dense[::40], axis=0), axis=1).max(initial=0)
    assert mask[distance <= radius - 1e-6].all()
    touched = np.zeros_like(mask)
    touched[tuple(np.floor(geometry.world_to_index(dense) + 0.5).astype(int).T)] = True
    assert not mask[(distance > radius + reach) & ~touched].any()


@given(geometries(), shares, shares)
def test_a_box_covers_every_voxel_from_corner_to_corner(
    geometry: VolumeGeometry, one: tuple[float, float, float], other: tuple[float, float, float]
) -> None:
    crop = prompt_mask(Box(lower_ras=place(geometry, one), upper_ras=place(geometry, other)), geometry)
    corners = np.array([geometry.world_to_index(place(geometry, share)) for share in (one, other)])
    assert crop.mask.all()
    assert np.abs(corners.min(axis=0) - crop.lower).max() <= 0.5 + 1e-6
    assert np.abs(corners.max(axis=0) - np.asarray(crop.upper) + 1).max() <= 0.5 + 1e-6


@given(geometries(smallest=12, largest=20), st.integers(0, 2), st.floats(0.0, 1.0))
def test_a_lasso_covers_what_it_encloses_in_its_slice(geometry: VolumeGeometry, axis: int, depth: float) -> None:
    first, second = (other for other in range(3) if other != axis)
    slice_index = round(depth * (geometry.shape[axis] - 1))
    corners = np.zeros((4, 3))
    corners[:, axis] = slice_index
    corners[:, [first, second]] = [[1.7, 2.6], [8.2, 2.6], [8.2, 9.4], [1.7, 9.4]]
    crop = prompt_mask(Lasso(ras=geometry.index_to_world(corners)), geometry)
    expected = np.zeros(geometry.shape, dtype=bool)
    box = [slice(0)] * 3
    box[axis], box[first], box[second] = slice(slice_index, slice_index + 1), slice(2, 9), slice(3, 10)
    expected[tuple(box)] = True
    assert np.array_equal(crop.on_grid(geometry.shape), expected)


def test_a_lasso_on_an_oblique_plane_covers_one_voxel_a_column() -> None:
    square = np.array([[5, 5, 4], [24, 5, 4], [24, 30, 14], [5, 30, 14]], dtype=float)
    mask = prompt_mask(Lasso(ras=GRID.index_to_world(square)), GRID).on_grid(GRID.shape)
    assert (mask.sum(axis=2) <= 1).all()
    assert mask.sum() > 400
    indices = np.argwhere(mask)
    assert np.abs(indices[:, 2] - (4 + (indices[:, 1] - 5) * 10 / 25)).max() <= 0.5


def test_a_lasso_between_voxel_centres_covers_the_voxels_it_was_drawn_on() -> None:
    corners = np.array([[5.1, 5.1, 4], [5.3, 5.1, 4], [5.2, 5.3, 4]])
    assert prompt_mask(Lasso(ras=GRID.index_to_world(corners)), GRID).lower == (5, 5, 4)


def test_a_lasso_with_a_dent_leaves_the_dent_out() -> None:
    corners = np.array([[2, 2, 5], [20, 2, 5], [20, 20, 5], [11, 8, 5], [2, 20, 5]], dtype=float)
    mask = prompt_mask(Lasso(ras=GRID.index_to_world(corners)), GRID).on_grid(GRID.shape)
    assert mask[4, 12, 5]
    assert mask[18, 12, 5]
    assert not mask[11, 14, 5]


@pytest.mark.parametrize(
    "prompt",
    [
        Point(ras=(100, 0, 0)),
        Scribble(ras=((100, 0, 0), (120, 0, 0))),
        Box(lower_ras=(100, 0, 0), upper_ras=(200, 10, 10)),
        Lasso(ras=((100, 0, 0), (120, 0, 0), (110, 20, 0))),
    ],
)
def test_a_prompt_beyond_the_volume_is_refused_with_its_corners(prompt: object) -> None:
    with pytest.raises(ValueError, match=r"outside of it.*\(0\.0, 0\.0, 0\.0\)"):
        prompt_mask(prompt, GRID)


FAR = [20_000.0, 2_147_483_648.0, -9.2e18, 1e200]


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("kind", ["point", "scribble", "box", "lasso"])
def test_a_position_far_beyond_any_volume_costs_nothing(kind: str, far: float) -> None:
    near, away = (-5.0, -5.0, 5.0), (far, -5.0, 5.0)
    prompt = {
        "point": lambda: Point(ras=away),
        "scribble": lambda: Scribble(ras=(near, away)),
        "box": lambda: Box(lower_ras=near, upper_ras=away),
        "lasso": lambda: Lasso(ras=(near, away, (-5.0, far, 5.0))),
    }[kind]()
    tracemalloc.start()
    if abs(far) < 1e6:
        assert kind == "point" or prompt_mask(prompt, GRID).mask.any()
    else:
        with pytest.raises(ValueError, match="outside of it"):
            prompt_mask(prompt, GRID)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20


def test_as_many_positions_as_a_prompt_may_have_are_drawn_in_little_memory() -> None:
    way = [(-5.0 - step % 100 / 10, -5.0 - step % 77 / 10, 5.0) for step in range(10_000)]
    tracemalloc.start()
    for prompt in (Scribble(ras=tuple(way)), Lasso(ras=tuple(way))):
        assert prompt_mask(prompt, GRID).mask.any()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def test_a_brush_that_would_look_at_more_than_a_server_can_is_refused() -> None:
    fine = VolumeGeometry(shape=(512, 512, 512), affine=np.diag([0.7, 0.7, 0.7, 1.0]))
    zigzag = tuple((300.0 * (step % 2), 300.0 * (step % 3 > 0), 300.0 * (step % 5 > 0)) for step in range(10_000))
    for scribble in (Scribble(ras=zigzag), Scribble(ras=zigzag[:2], radius_mm=1e300)):
        with pytest.raises(ValueError, match="thinner or in parts"):
            prompt_mask(scribble, fine)
    assert prompt_mask(Scribble(ras=((0.0, 0.0, 0.0), (350.0, 350.0, 350.0))), fine).upper == (503, 503, 503)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scribble(ras=((0.0, 0.0, 0.0),) * 10_001), "at most 10000 positions, got 10001"),
        (lambda: Lasso(ras=((0.0, 0.0, 0.0),) * 10_001), "at most 10000 positions, got 10001"),
        (lambda: Phrase(text="nodule " * 150_000), "at most 2000 characters of text, got 1050000"),
    ],
)
def test_a_prompt_of_more_than_anybody_draws_or_says_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_a_prompt_partly_beyond_the_volume_keeps_the_part_inside() -> None:
    crop = prompt_mask(Scribble(ras=((-5, -5, 5), (100, -5, 5)), radius_mm=0.5), GRID)
    assert crop.lower[0] == 0
    assert crop.upper[0] == voxel(GRID, (-5, -5, 5))[0] + 1


def test_a_phrase_and_a_bent_lasso_have_no_voxels() -> None:
    with pytest.raises(TypeError, match="no voxels"):
        prompt_mask(Phrase(text="nodule"), GRID)
    bent = GRID.index_to_world([[2, 2, 2], [20, 2, 2], [20, 20, 2], [2, 20, 15]])
    with pytest.raises(ValueError, match="one plane"):
        prompt_mask(Lasso(ras=bent), GRID)


@pytest.mark.parametrize(("lower", "mask"), [((-1, 0, 0), np.ones((1, 1, 1), bool)), ((0, 0, 0), np.ones((2, 2)))])
def test_a_crop_must_lie_in_a_volume_and_be_a_mask(lower: tuple[int, int, int], mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="crop"):
        Crop(lower=lower, mask=mask)


@given(st.integers(0, 2**31), st.tuples(*[st.integers(0, 6)] * 3), st.tuples(*[st.integers(1, 6)] * 3))
def test_a_crop_seen_from_another_box(seed: int, corner: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    whole = np.random.default_rng(seed).random((9, 9, 9)) < 0.05
    crop = Crop.around(whole)
    upper = tuple(a + b for a, b in zip(corner, size, strict=True))
    part = np.zeros(size, dtype=bool)
    inside = whole[tuple(slice(a, b) for a, b in zip(corner, upper, strict=True))]
    part[tuple(slice(0, extent) for extent in inside.shape)] = inside
    assert np.array_equal(crop.on_box(corner, upper), part)
    assert np.array_equal(crop.on_grid(whole.shape), whole)
    assert crop.is_empty == (not whole.any())
