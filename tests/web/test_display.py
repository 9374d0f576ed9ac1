"""What the browser is given to draw: it lies where the volume lies, in any orientation, and is never too large."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colipri_core.geometry import VolumeGeometry
from colipri_core.remote.web.display import SMALLEST_BUDGET
from colipri_core.remote.web.display import DisplayGrid
from colipri_core.remote.web.display import HeatLimits
from colipri_core.remote.web.display import ct_nifti
from colipri_core.remote.web.display import heat_nifti
from colipri_core.remote.web.display import labels_nifti

OBLIQUE = np.array([[0.6, -0.3, 0.2, -120.0], [0.25, 0.65, -0.4, 80.0], [-0.1, 0.2, 2.4, -300.0], [0, 0, 0, 1]])


def image(content: bytes) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


class TestGrid:
    def test_a_small_volume_is_shown_as_it_is(self):
        source = VolumeGeometry(shape=(40, 50, 60), affine=OBLIQUE)
        grid = DisplayGrid.within(source, 200_000)
        assert grid.factors == (1, 1, 1)
        assert grid.geometry == source

    @given(
        shape=st.tuples(*[st.integers(2, 700)] * 3),
        budget=st.integers(SMALLEST_BUDGET, 30_000_000),
        thickness=st.floats(0.5, 5.0),
    )
    def test_the_budget_is_kept_and_the_field_of_view_too(self, shape, budget, thickness):
        source = VolumeGeometry(shape=shape, affine=np.diag([0.7, 0.7, thickness, 1.0]))
        grid = DisplayGrid.within(source, budget)
        assert np.prod(grid.shape) <= budget
        lost = np.asarray(source.shape) - np.asarray(grid.shape) * np.asarray(grid.factors)
        assert (lost >= 0).all()
        assert (lost < np.asarray(grid.factors)).all()

    def test_the_finest_axes_are_reduced_first(self):
        source = VolumeGeometry(shape=(512, 512, 60), affine=np.diag([0.7, 0.7, 5.0, 1.0]))
        assert DisplayGrid.within(source, 4_000_000).factors == (2, 2, 1)

    def test_a_block_lies_at_its_centre_in_an_oblique_volume(self):
        source = VolumeGeometry(shape=(300, 300, 40), affine=OBLIQUE)
        grid = DisplayGrid.within(source, 500_000)
        i, j, k = grid.factors
        block = [[a, b, c] for a in range(i) for b in range(j) for c in range(k)]
        middle = source.index_to_world(np.asarray(block, dtype=float)).mean(axis=0)
        np.testing.assert_allclose(grid.geometry.index_to_world((0, 0, 0)), middle, atol=1e-9)

    def test_a_budget_that_shows_nothing_is_refused(self):
        with pytest.raises(ValueError, match="at least 100000"):
            DisplayGrid.within(VolumeGeometry(shape=(9, 9, 9), affine=np.eye(4)), 1000)


class TestImages:
    source = VolumeGeometry(shape=(101, 100, 41), affine=OBLIQUE)
    grid = DisplayGrid.within(source, 110_000)

    def test_the_ct_is_the_mean_of_its_blocks(self):
        hu = np.random.default_rng(0).integers(-1000, 1000, self.source.shape).astype(np.int16)
        shown = image(ct_nifti(hu, self.grid))
        i, j, k = self.grid.factors
        assert self.grid.is_reduced
        np.testing.assert_allclose(shown.affine, self.grid.geometry.affine, atol=1e-4)
        voxels = np.asanyarray(shown.dataobj)
        assert voxels.dtype == np.int16
        np.testing.assert_allclose(voxels[3, 4, 5], hu[3 * i : 4 * i, 4 * j : 5 * j, 5 * k : 6 * k].mean(), atol=0.5)

    def test_labels_stay_labels(self):
        labelmap = np.zeros(self.source.shape, dtype=np.uint16)
        labelmap[40:60, 40:60, 10:30] = 300
        shown = image(labels_nifti(labelmap, self.grid))
        assert set(np.unique(np.asanyarray(shown.dataobj))) == {0, 300}
        assert int(shown.header["intent_code"]) == 1002
        place = self.source.index_to_world((50, 50, 20))
        index = np.rint(self.grid.geometry.world_to_index(place)).astype(int)
        assert np.asanyarray(shown.dataobj)[tuple(index)] == 300

    def test_heat_is_clear_where_the_model_did_not_look_or_saw_little(self):
        values = np.random.default_rng(0).normal(0, 0.01, self.source.shape).astype(np.float32)
        values[:10] = np.nan
        values[60:66, 60:66, 20:24] = 0.4
        shown = image(heat_nifti(values, self.grid, HeatLimits.of(values, 0.4)))
        steps = np.asanyarray(shown.dataobj)
        assert steps.dtype == np.uint8
        assert steps[0].max() == 0
        assert steps.max() == 255
        assert (steps == 0).mean() > 0.85
        peak = self.grid.geometry.index_to_world(np.unravel_index(steps.argmax(), steps.shape))
        assert (np.abs(self.source.world_to_index(peak) - (63, 63, 22)) < 5).all()

    @pytest.mark.parametrize("values", [np.full((4, 4, 4), np.nan), np.zeros((4, 4, 4)), np.full((4, 4, 4), -0.2)])
    def test_a_map_that_says_nothing_has_limits_all_the_same(self, values):
        limits = HeatLimits.of(values.astype(np.float32), float(np.nanmax(np.append(values, -1.0))))
        assert limits.low < limits.high

    def test_wide_integers_and_doubles_are_brought_to_what_webgl_holds(self):
        grid = DisplayGrid.within(VolumeGeometry(shape=(4, 4, 4), affine=np.eye(4)), 110_000)
        assert np.asanyarray(image(ct_nifti(np.full((4, 4, 4), 70_000, np.int32), grid)).dataobj).dtype == np.float32
        assert np.asanyarray(image(ct_nifti(np.full((4, 4, 4), -900, np.int32), grid)).dataobj).dtype == np.int16
        assert np.asanyarray(image(ct_nifti(np.full((4, 4, 4), 0.5), grid)).dataobj).dtype == np.float32
