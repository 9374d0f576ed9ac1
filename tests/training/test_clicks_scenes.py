"""Scenes and simulated users: the same from the same seed, within bounds, and true to their word."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from colipri_core.model.click_hints import HINTS
from colipri_core.model.click_hints import empty_hints
from colipri_training.clicks import appearance
from colipri_training.clicks import scenes
from colipri_training.clicks import shapes
from colipri_training.clicks import user
from colipri_training.clicks.chests import chest_scene
from colipri_training.clicks.smooth import smooth_field

SIZE = 32
MANY = range(40)
FLAT = np.zeros((25, 25, 25), dtype=np.float32)


@pytest.fixture(scope="module")
def drawn() -> list[scenes.Scene]:
    return [scenes.synthetic_scene(np.random.default_rng([7, number]), SIZE) for number in MANY]


def ball(radius: float, centre: float = 12.0, size: int = 25) -> np.ndarray:
    return np.asarray(((np.indices((size,) * 3) - centre) ** 2).sum(axis=0) <= radius**2)


class TestScenes:
    def test_a_scene_depends_on_its_seed_alone(self, drawn: list[scenes.Scene]) -> None:
        again = scenes.synthetic_scene(np.random.default_rng([7, 3]), SIZE)

        assert np.array_equal(again.hu, drawn[3].hu)
        assert np.array_equal(again.target, drawn[3].target)
        assert not np.array_equal(drawn[3].hu, drawn[4].hu)

    def test_intensities_are_those_of_a_ct(self, drawn: list[scenes.Scene]) -> None:
        low, high = appearance.HU_RANGE
        for scene in drawn:
            assert scene.hu.dtype == np.float32
            assert scene.hu.shape == scene.target.shape == (SIZE,) * 3
            assert low <= scene.hu.min() < scene.hu.max() <= high

    def test_a_target_is_one_object_of_a_fit_size(self, drawn: list[scenes.Scene]) -> None:
        for scene in drawn:
            assert scenes.SMALLEST_TARGET <= scene.target.sum() <= scenes.LARGEST_TARGET * scene.target.size * 1.5
            assert ndimage.label(scene.target, structure=np.ones((3, 3, 3)))[1] == 1

    def test_targets_are_of_all_sizes(self, drawn: list[scenes.Scene]) -> None:
        sizes = np.array([scene.target.sum() for scene in drawn])

        assert (sizes < 300).sum() >= 4
        assert (sizes > 0.1 * SIZE**3).sum() >= 4

    def test_most_objects_differ_from_what_surrounds_them(self, drawn: list[scenes.Scene]) -> None:
        def contrast(scene: scenes.Scene) -> float:
            shell = ndimage.binary_dilation(scene.target, iterations=3) & ~scene.target
            return float(abs(scene.hu[scene.target].mean() - scene.hu[shell].mean()))

        assert np.median([contrast(scene) for scene in drawn]) > 40

    def test_a_phantom_gives_the_same_scene_again(self) -> None:
        one, other = (chest_scene(np.random.default_rng(5), SIZE, seed=11) for _ in range(2))

        assert one is not None
        assert other is not None
        assert np.array_equal(one.hu, other.hu)
        assert np.array_equal(one.target, other.target)
        assert one.target.any()


class TestShapes:
    def test_a_smooth_field_has_about_unit_variance(self) -> None:
        field = smooth_field(np.random.default_rng(0), 48, 12.0)

        assert field.std() == pytest.approx(1, abs=0.15)
        assert np.diff(field, axis=0).std() < 0.5

    def test_an_unbent_blob_is_an_ellipsoid(self) -> None:
        shape = shapes.Blob(centre=np.full(3, 20.0), radii=np.full(3, 9.0), roughness=0.0, waves=1.0)

        mask = shapes.blob(np.random.default_rng(0), 41, shape)

        assert mask.sum() == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.02)

    def test_cells_and_layers_fill_the_cube(self) -> None:
        rng = np.random.default_rng(0)
        for labels in (shapes.mosaic(rng, 24, 9), shapes.layers(rng, 24, 4)):
            assert labels.min() == 0
            assert 2 <= len(np.unique(labels)) <= 9

    def test_a_branching_tube_is_connected_and_as_thick_as_asked(self) -> None:
        rng = np.random.default_rng(3)
        grown = shapes.Tree(start=np.full(3, 24.0), radius=3.0, length=20.0, generations=2, turn=0.05)
        mask = np.zeros((48,) * 3, dtype=bool)

        shapes.paint_tubes(mask, *shapes.tree(rng, grown))

        assert ndimage.label(mask, structure=np.ones((3, 3, 3)))[1] == 1
        assert ndimage.distance_transform_edt(mask).max() == pytest.approx(3.5, abs=1.2)

    def test_thick_slices_keep_the_mean_and_blur_one_axis(self) -> None:
        hu = np.random.default_rng(0).normal(0, 100, (24, 24, 24)).astype(np.float32)

        thick = appearance.thick_slices(hu, 4.0, axis=2)

        assert thick.mean() == pytest.approx(hu.mean(), abs=2)
        assert np.diff(thick, axis=2).std() < 0.4 * np.diff(thick, axis=0).std()


class TestUser:
    def test_the_deepest_point_is_in_the_thickest_part(self) -> None:
        mask = ball(8) | ball(3, centre=20.0)

        assert user.deepest_point(mask) == pytest.approx([12, 12, 12], abs=1)

    def test_depth_is_measured_in_mm(self) -> None:
        mask = np.zeros((20, 20, 20), dtype=bool)
        mask[2:18, 2:18, 9:12] = True

        assert user.deepest_point(mask, (1.0, 1.0, 5.0))[2] == 10
        assert user.depth_inside(mask, (1.0, 1.0, 5.0))[0].max() == pytest.approx(8)

    @pytest.mark.parametrize("seed", range(8))
    def test_the_first_prompt_lies_on_the_object(self, seed: int) -> None:
        target, hints = ball(6), empty_hints(25)

        user.first_prompt(np.random.default_rng(seed), hints, target, FLAT)

        placed = hints[HINTS.index("positive")]
        boxed = hints[HINTS.index("box")] > 0
        assert placed.any() or boxed.any()
        assert not hints[HINTS.index("negative")].any()
        if placed.any():
            assert target[np.unravel_index(placed.argmax(), placed.shape)]
        if boxed.any():
            assert (boxed & target).any()
            assert not boxed.all()

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("missed", [True, False])
    def test_a_correction_lies_in_the_largest_error(self, seed: int, missed: bool) -> None:
        small, large = ball(5), ball(10)
        target, shown = (large, small) if missed else (small, large)
        hints = empty_hints(25)

        user.correct(np.random.default_rng(seed), hints, target, shown=shown, hu=FLAT)

        own, other = ("positive", "negative") if missed else ("negative", "positive")
        mark = hints[HINTS.index(own)]
        assert (large & ~small)[np.unravel_index(mark.argmax(), mark.shape)]
        assert not hints[HINTS.index(other)].any()

    def test_nothing_is_said_of_a_perfect_mask(self) -> None:
        hints = empty_hints(25)

        user.correct(np.random.default_rng(0), hints, ball(5), shown=ball(5), hu=FLAT)

        assert not hints.any()
