"""The click segmenter on analytic volumes, with a network whose answer is known: all around the network is judged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click_bundles import SameBrightness
from click_bundles import brightness_bundle
from click_bundles import random_network
from click_bundles import spec

from colipri_core.errors import Cancelled
from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.interactive import ClickSegmenter
from colipri_core.inference.interactive import ClickSettings
from colipri_core.inference.pointing import hints_of
from colipri_core.inference.pointing import honour
from colipri_core.inference.pointing import one_way
from colipri_core.inference.pointing import spatial_prompts
from colipri_core.model.click_bundle import ClickBundle
from colipri_core.model.click_hints import HINTS
from colipri_core.progress import CancelToken
from colipri_core.prompts import Box
from colipri_core.prompts import Crop
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Prompt
from colipri_core.prompts import Scribble
from colipri_core.prompts import Segmenter
from colipri_core.prompts.regions import region_around
from colipri_core.volume import Volume

Spheres = list[tuple[tuple[float, float, float], float]]
BALL: Spheres = [((4.0, -6.0, 10.0), 14.0)]
SHAPE = (72, 64, 56)


def rotation(degrees: float) -> np.ndarray:
    """A turn about a slanted axis (Rodrigues)."""
    axis = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    cross = np.cross(np.eye(3), axis)
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def affine_of(
    spacing: tuple[float, float, float], *, degrees: float = 0.0, shape: tuple[int, ...] = SHAPE
) -> np.ndarray:
    """An affine whose grid has its middle near the world's origin."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) * np.asarray(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def inside(geometry: VolumeGeometry, spheres: Spheres) -> np.ndarray:
    places = geometry.index_to_world(np.moveaxis(np.indices(geometry.shape), 0, -1))
    return np.any([np.linalg.norm(places - centre, axis=-1) < radius for centre, radius in spheres], axis=0)


def volume_of(affine: np.ndarray, spheres: Spheres = BALL, shape: tuple[int, int, int] = SHAPE) -> Volume:
    geometry = VolumeGeometry(shape=shape, affine=affine)
    return Volume(voxels=np.where(inside(geometry, spheres), 150, -50).astype(np.int16), affine=affine)


def segmenter(**settings: object) -> ClickSegmenter:
    return ClickSegmenter(brightness_bundle(), settings=ClickSettings(**settings))  # type: ignore[arg-type]


def propose(volume: Volume, *prompts: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
    before = None if previous is None else Crop.around(previous)
    return segmenter().propose(volume, prompts, previous=before).on_grid(volume.shape)


def hints_around(geometry: VolumeGeometry, middle: np.ndarray, *prompts: Prompt) -> np.ndarray:
    """What the network is told in 64 cells of 1 mm around a voxel; the middle of the region is between 31 and 32."""
    region = region_around(geometry, middle.tolist(), spacing_mm=1.0, size=64)
    cells = np.zeros((64, 64, 64), dtype=np.float32)
    return hints_of(spatial_prompts(prompts, None), region, geometry, hu=cells, previous=cells > 0)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_it_is_a_segmenter() -> None:
    assert isinstance(segmenter(), Segmenter)
    assert segmenter().card.synthetic


@pytest.mark.parametrize("degrees", [0.0, 30.0, 45.0, 100.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (2.0, 0.9, 1.4)])
def test_a_clicked_ball_is_outlined_on_any_grid(degrees: float, spacing: tuple[float, float, float]) -> None:
    volume = volume_of(affine_of(spacing, degrees=degrees))

    mask = propose(volume, Point(ras=BALL[0][0]))

    assert dice(mask, inside(volume.geometry, BALL)) > 0.97


@pytest.mark.parametrize("orientation", ["LPS", "LAS", "SPR", "AIL"])
@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_the_same_patient_gets_the_same_mask_however_the_axes_are_stored(orientation: str, degrees: float) -> None:
    """With random weights: no symmetry of the network helps."""
    volume = volume_of(affine_of((0.9, 1.1, 2.0), degrees=degrees))
    noise = np.random.default_rng(0).normal(0, 40, volume.shape)
    volume = volume.replace_voxels((volume.voxels + noise).astype(np.int16))
    other = volume.reoriented(orientation)
    model = ClickSegmenter(ClickBundle(spec=spec(), network=random_network(), sha256="0" * 64))
    clicks = [Point(ras=BALL[0][0]), Point(ras=(20.0, 0.0, 0.0), positive=False)]

    masks = [model.propose(v, clicks, previous=None).on_grid(v.shape) for v in (volume, other)]

    one = volume.replace_voxels(masks[0].astype(np.uint8)).reoriented(orientation).voxels
    assert 0 < masks[0].sum() < masks[0].size
    assert np.array_equal(one, masks[1])


def test_it_zooms_out_until_the_object_fits() -> None:
    large: Spheres = [((0.0, 0.0, 0.0), 70.0)]
    volume = volume_of(affine_of((2.5, 2.5, 2.5)), large)
    model = segmenter()

    mask = model.propose(volume, [Point(ras=(30.0, 10.0, -20.0))], previous=None).on_grid(volume.shape)

    network = model._network
    assert isinstance(network, SameBrightness)
    assert network.looks >= 2
    assert dice(mask, inside(volume.geometry, large)) > 0.97


class DoubtfulFromAfar(SameBrightness):
    """Takes everything for the object from its second look on, and is not sure of it."""

    def forward(self, hu_B1XYZ: torch.Tensor, hints_BHXYZ: torch.Tensor) -> torch.Tensor:
        logits = super().forward(hu_B1XYZ, hints_BHXYZ)
        return logits if self.looks == 1 else torch.full_like(logits, 0.1)


def test_a_wider_answer_that_is_less_sure_is_not_taken() -> None:
    large: Spheres = [((0.0, 0.0, 0.0), 40.0)]
    volume = volume_of(affine_of((2.0, 2.0, 2.0)), large)
    network = DoubtfulFromAfar()
    model = ClickSegmenter(ClickBundle(spec=spec(), network=network, sha256="0" * 64))  # type: ignore[arg-type]

    mask = model.propose(volume, [Point(ras=(30.0, 0.0, 0.0))], previous=None).on_grid(volume.shape)

    assert network.looks >= 2
    assert mask.any()
    assert not (mask & ~inside(volume.geometry, [((0.0, 0.0, 0.0), 42.0)])).any()


def test_a_small_object_is_looked_at_closely() -> None:
    small: Spheres = [((3.0, 2.0, 1.0), 4.0)]
    volume = volume_of(affine_of((0.7, 0.7, 0.7)), small)

    mask = propose(volume, Point(ras=(3.0, 2.0, 1.0)))

    assert dice(mask, inside(volume.geometry, small)) > 0.97


def test_only_what_is_attached_to_the_click_is_kept() -> None:
    apart: Spheres = [((-14.0, 0.0, 0.0), 8.0), ((14.0, 0.0, 0.0), 8.0)]
    volume = volume_of(affine_of((1.0, 1.0, 1.0)), apart)

    mask = propose(volume, Point(ras=(-14.0, 0.0, 0.0)))

    assert dice(mask, inside(volume.geometry, apart[:1])) > 0.97
    both = segmenter(attached=False).propose(volume, [Point(ras=(-14.0, 0.0, 0.0))], previous=None)
    assert dice(both.on_grid(volume.shape), inside(volume.geometry, apart)) > 0.97


def test_a_negative_click_removes_and_keeps_the_rest() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))
    first = propose(volume, Point(ras=BALL[0][0]))
    removed = (12.0, -6.0, 10.0)

    mask = propose(volume, Point(ras=BALL[0][0]), Point(ras=removed, positive=False), previous=first)

    i, j, k = np.round(volume.geometry.world_to_index(removed)).astype(int)
    assert first[i, j, k]
    assert not mask[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2].any()
    assert 0.7 * first.sum() < mask.sum() < first.sum()


def test_a_correction_leaves_alone_what_it_does_not_reach() -> None:
    """A hand has drawn something far from the newest prompt of a large object; it stays to the voxel."""
    large: Spheres = [((0.0, 0.0, 0.0), 45.0)]
    shape = (180, 100, 100)
    volume = volume_of(affine_of((1.0, 1.0, 1.0), shape=shape), large, shape)
    hand = inside(volume.geometry, large)
    hand[160:165, 10:20, 30:50] = True
    hand[43:47, 48:52, 48:52] = False

    mask = propose(volume, Point(ras=(-44.5, 0.0, 0.0)), previous=hand)

    assert np.array_equal(mask[100:], hand[100:])
    assert mask[45, 50, 50]


def test_prompts_are_honoured_to_the_voxel_and_the_later_counts() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 2.0)))
    stroke = Scribble(ras=((-25.0, 20.0, 0.0), (-15.0, 20.0, 0.0)), radius_mm=1.5)
    hole = Lasso(ras=((0.0, -10.0, 10.0), (8.0, -10.0, 10.0), (8.0, -2.0, 10.0), (0.0, -2.0, 10.0)), positive=False)
    again = Point(ras=(4.0, -6.0, 10.0))

    mask = propose(volume, Point(ras=BALL[0][0]), stroke, hole, again)

    def at(*ras: float) -> bool:
        i, j, k = np.floor(volume.geometry.world_to_index(ras) + 0.5).astype(int)
        return bool(mask[i, j, k])

    assert at(-20.0, 20.0, 0.0)
    assert not at(2.0, -8.0, 10.0)
    assert at(4.0, -6.0, 10.0)


def test_a_box_bounds_the_object_until_a_click_outside_widens_it() -> None:
    joined: Spheres = [((-8.0, 0.0, 0.0), 12.0), ((8.0, 0.0, 0.0), 12.0)]
    volume = volume_of(affine_of((1.0, 1.0, 1.0)), joined)
    box = Box(lower_ras=(-22.0, -14.0, -14.0), upper_ras=(0.0, 14.0, 14.0))
    geometry = volume.geometry

    bounded = propose(volume, box)
    widened = propose(volume, box, Point(ras=(15.0, 0.0, 0.0)), previous=bounded)

    right = geometry.index_to_world(np.moveaxis(np.indices(volume.shape), 0, -1))[..., 0] > 0.6
    assert dice(bounded, inside(geometry, joined) & ~right) > 0.95
    assert dice(widened, inside(geometry, joined)) > 0.95


def test_a_flat_box_bounds_the_object_in_its_slice_only() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))
    flat = Box(lower_ras=(-2.5, -25.0, 10.5), upper_ras=(10.5, 15.0, 10.5))

    mask = propose(volume, flat)

    k = round(volume.geometry.world_to_index((0.0, 0.0, 10.5))[2])
    whole = inside(volume.geometry, BALL)
    assert mask[:, :, k].sum() < 0.7 * whole[:, :, k].sum()
    assert dice(mask[:, :, k + 3], whole[:, :, k + 3]) > 0.95


@pytest.mark.parametrize("plane", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0.0, 35.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 0.9, 1.4)])
def test_a_flat_box_is_told_as_thick_as_its_shorter_side(
    plane: int, degrees: float, spacing: tuple[float, float, float]
) -> None:
    geometry = VolumeGeometry(shape=(160, 160, 160), affine=affine_of(spacing, degrees=degrees))
    middle, half = np.array([80.0, 80.0, 80.0]), np.round(np.array([12.0, 9.0, 10.0]) / spacing)
    half[plane] = 0
    lower, upper = geometry.index_to_world(np.stack([middle - half, middle + half]))

    hints = hints_around(geometry, middle, Box(lower_ras=tuple(lower), upper_ras=tuple(upper)))

    sides = (2 * half + 1) * spacing
    sides[plane] = np.delete(sides, plane).min()
    told = np.argwhere(hints[HINTS.index("box")] > 0)
    assert np.abs(told.max(axis=0) - told.min(axis=0) + 1 - sides).max() < max(spacing) + 0.5
    assert np.abs((told.max(axis=0) + told.min(axis=0)) / 2 - 31.5).max() < 1.01
    assert np.linalg.norm(np.argwhere(hints[HINTS.index("positive")] > 0.7).mean(axis=0) - 31.5) < 1


def test_the_middle_of_a_box_counts_only_while_boxes_are_all_there_is() -> None:
    geometry = VolumeGeometry(shape=(160, 160, 160), affine=affine_of((1.0, 1.0, 1.0)))
    lower, middle, upper = (tuple(place) for place in geometry.index_to_world([[70.0] * 3, [80.0] * 3, [90.0] * 3]))
    aside = tuple(geometry.index_to_world((84.0, 74.0, 80.0)))
    box = Box(lower_ras=lower, upper_ras=upper)

    def pointed(*prompts: Prompt) -> np.ndarray:
        hints = hints_around(geometry, np.array([80.0, 80.0, 80.0]), *prompts)
        return hints[HINTS.index("positive"), 30:34, 30:34, 30:34] > 0.5

    assert pointed(box).any()
    assert not pointed(box, Point(ras=middle, positive=False)).any()
    assert not pointed(box, Point(ras=aside)).any()


def test_the_middle_of_a_box_is_no_promise() -> None:
    """It may lie outside a bent object; a click is kept to the voxel, the middle of a box is not."""
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))
    middle = volume.geometry.index_to_world(volume.geometry.world_to_index(BALL[0][0]).round())
    box = Box(lower_ras=tuple(middle - 8.0), upper_ras=tuple(middle + 8.0))

    def honoured(prompt: Box | Point) -> Crop:
        return honour(Crop.empty(), [prompt], volume.geometry)

    assert honoured(box).is_empty
    assert not honoured(Point(ras=tuple(middle))).is_empty


def test_a_negative_box_empties_itself() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))
    box = Box(lower_ras=(4.5, -30.0, -30.0), upper_ras=(30.0, 30.0, 30.0), positive=False)

    mask = propose(volume, Point(ras=(-2.0, -6.0, 10.0)), box)

    places = volume.geometry.index_to_world(np.moveaxis(np.indices(volume.shape), 0, -1))
    assert mask[places[..., 0] < 0].any()
    assert not mask[(places[..., 0] > 5.1) & (np.abs(places[..., 1:]) < 28).all(axis=-1)].any()


def test_negative_prompts_alone_outline_nothing() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))

    assert segmenter().propose(volume, [Point(ras=BALL[0][0], positive=False)], previous=None).is_empty
    assert segmenter().propose(volume, [Phrase(text="a ball")], previous=None).is_empty


def test_a_phrase_nobody_can_place_changes_nothing() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))
    before = Crop.around(inside(volume.geometry, BALL))

    after = segmenter().propose(volume, [Phrase(text="a ball")], previous=before)

    assert np.array_equal(after.on_grid(volume.shape), before.on_grid(volume.shape))


def test_a_phrase_is_clicked_where_it_is_seen() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))

    mask = segmenter().propose(volume, [Phrase(text="a ball")], previous=None, seen_at=BALL[0][0])

    assert dice(mask.on_grid(volume.shape), inside(volume.geometry, BALL)) > 0.97


def test_cancelling_between_looks_leaves_it_usable() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))
    token, model, heard = CancelToken(), segmenter(), []

    def listen(fraction: float, message: str) -> None:
        heard.append((fraction, message))
        token.cancel()

    with pytest.raises(Cancelled):
        model.propose(volume, [Point(ras=BALL[0][0])], previous=None, progress=listen, cancel=token)
    assert len(heard) == 1
    again = model.propose(volume, [Point(ras=BALL[0][0])], previous=None)
    assert dice(again.on_grid(volume.shape), inside(volume.geometry, BALL)) > 0.97


def test_a_thin_slab_is_outlined() -> None:
    shape = (80, 80, 5)
    volume = volume_of(affine_of((1.0, 1.0, 2.5), shape=shape), [((0.0, 0.0, 0.0), 10.0)], shape)

    mask = propose(volume, Point(ras=(0.0, 0.0, 0.0)))

    assert dice(mask, inside(volume.geometry, [((0.0, 0.0, 0.0), 10.0)])) > 0.95


def test_voxels_without_a_value_are_no_object() -> None:
    volume = volume_of(affine_of((1.0, 1.0, 1.0)))
    voxels = volume.voxels.astype(np.float32)
    voxels[:10] = np.nan

    mask = propose(volume.replace_voxels(voxels), Point(ras=BALL[0][0]))

    assert dice(mask, inside(volume.geometry, BALL)) > 0.97


class TestOneWay:
    """A correction goes the way its prompt points, and what it removes hangs together with it."""

    VIEW = VolumeGeometry(shape=(8, 8, 8), affine=np.eye(4))

    @pytest.fixture
    def crops(self) -> tuple[Crop, Crop]:
        before, after = (np.zeros((8, 8, 8), dtype=bool) for _ in range(2))
        before[1:4, 1:4, 1:4] = True
        after[2:7, 2:4, 2:4] = True
        return Crop.around(before), Crop.around(after)

    @pytest.mark.parametrize("positive", [True, False])
    def test_a_positive_click_removes_nothing_and_a_negative_one_adds_nothing(self, crops, positive: bool) -> None:
        before, after = crops
        found = one_way(after, before, Point(ras=(0, 0, 0), positive=positive), self.VIEW).on_grid((8, 8, 8))
        first, second = before.on_grid((8, 8, 8)), after.on_grid((8, 8, 8))
        np.testing.assert_array_equal(found, first | second if positive else first & second)

    def test_a_positive_box_may_do_both(self, crops) -> None:
        before, after = crops
        assert one_way(after, before, Box(lower_ras=(0, 0, 0), upper_ras=(1, 1, 1)), self.VIEW) is after

    def test_a_negative_click_may_leave_nothing(self, crops) -> None:
        assert one_way(Crop.empty(), crops[0], Point(ras=(0, 0, 0), positive=False), self.VIEW).is_empty

    def test_a_negative_click_removes_nothing_elsewhere(self, crops) -> None:
        before, after = crops[0].on_grid((8, 8, 8)), crops[0].on_grid((8, 8, 8))
        after[1, 1, 1] = after[3, 3, 3] = False
        found = one_way(Crop.around(after), Crop.around(before), Point(ras=(1, 1, 1), positive=False), self.VIEW)
        removed = before & ~found.on_grid((8, 8, 8))
        np.testing.assert_array_equal(np.argwhere(removed), [[1, 1, 1]])
