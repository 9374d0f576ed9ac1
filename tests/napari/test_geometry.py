"""Points keep their place on every way between patient, volume, layer and viewer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from napari.layers import Image
from scipy.spatial.transform import Rotation

from colipri_core.geometry import VolumeGeometry
from colipri_core.volume import Volume
from napari_colipri.geometry import LayerGrid
from napari_colipri.geometry import ras_to_world
from napari_colipri.geometry import world_to_ras
from napari_colipri.reader import layer_data
from napari_colipri.source import layer_grid
from napari_colipri.source import read_case

SHAPE = (5, 7, 4)
ANGLES = st.floats(-180, 180)
SIGNED_AXES = [
    np.diag(signs)[:, list(order)].astype(float)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((-1, 1), repeat=3)
]


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Affines of any orientation: rotated, permuted, flipped, anisotropic, sheared a little."""
    angles = draw(st.tuples(ANGLES, ANGLES, ANGLES))
    spacing = draw(st.tuples(*[st.floats(0.3, 6.0)] * 3))
    shear = np.eye(3)
    shear[0, 1] = draw(st.floats(-0.2, 0.2))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ draw(st.sampled_from(SIGNED_AXES))
    affine[:3, :3] = affine[:3, :3] @ shear @ np.diag(spacing)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return affine


def numbered(affine: np.ndarray) -> Volume:
    return Volume(voxels=np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), affine=affine)


@given(affines(), st.tuples(*[st.integers(0, size - 1) for size in SHAPE]))
@settings(max_examples=60, deadline=None)
def test_a_voxel_keeps_its_value_and_place_through_the_layer(affine: np.ndarray, voxel: tuple[int, int, int]) -> None:
    volume = numbered(affine)
    data, attributes, _ = layer_data(volume)
    layer = Image(data, **attributes)
    grid = layer_grid(layer)
    point = volume.geometry.index_to_world(voxel)

    index = grid.ras_to_layer(point)

    assert layer.data[tuple(np.round(index).astype(int))] == volume.voxels[voxel]
    assert np.allclose(grid.layer_to_ras(index), point, atol=1e-6)
    assert np.allclose(layer.world_to_data(layer.data_to_world(index)), index, atol=1e-6)
    assert grid.geometry == volume.geometry


@pytest.mark.parametrize(
    "axes", SIGNED_AXES, ids=lambda axes: VolumeGeometry(shape=SHAPE, affine=_affine(axes)).orientation
)
def test_world_is_true_for_every_axis_aligned_volume(axes: np.ndarray) -> None:
    data, attributes, _ = layer_data(numbered(_affine(axes)))
    layer = Image(data, **attributes)

    for index in ((0, 0, 0), (1, 2, 3), np.asarray(data.shape) - 1):
        shown = world_to_ras(layer.data_to_world(index))
        assert np.allclose(shown, layer_grid(layer).layer_to_ras(index), atol=1e-6)


@given(affines())
@settings(max_examples=40, deadline=None)
def test_an_oblique_volume_keeps_its_centre_and_spacing(affine: np.ndarray) -> None:
    geometry = VolumeGeometry(shape=SHAPE, affine=affine)
    grid = LayerGrid.for_display(geometry)
    middle = (np.asarray(grid.layer_shape) - 1) / 2

    assert np.allclose(np.asarray(grid.translate) + middle * grid.scale, ras_to_world(geometry.center))
    assert sorted(grid.scale) == pytest.approx(sorted(geometry.spacing))
    assert min(grid.scale) > 0


@given(affines())
@settings(max_examples=40, deadline=None)
def test_display_never_mirrors_the_patient(affine: np.ndarray) -> None:
    """Layer axes run nearest to S, P and L: first voxel of each axis is the inferior, anterior, right one."""
    grid = LayerGrid.for_display(VolumeGeometry(shape=SHAPE, affine=affine))
    codes = VolumeGeometry(shape=grid.layer_shape, affine=grid.layer_affine).orientation

    assert codes == "SPL"


@given(affines())
@settings(max_examples=40, deadline=None)
def test_arrays_survive_the_way_to_the_layer_and_back(affine: np.ndarray) -> None:
    volume = numbered(affine)
    grid = LayerGrid.for_display(volume.geometry)

    assert np.array_equal(grid.to_volume(grid.to_layer(volume.voxels)), volume.voxels)


@given(affines())
@settings(max_examples=30, deadline=None)
def test_a_foreign_layer_is_placed_by_its_whole_transform_chain(affine: np.ndarray) -> None:
    """scale, rotate, shear, translate and affine all count."""
    data = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    layer = Image(
        data,
        scale=(2.5, 0.7, 0.8),
        translate=(10, -20, 30),
        rotate=Rotation.from_euler("x", 20, degrees=True).as_matrix(),
        shear=(0.1, 0.0, 0.05),
        affine=affine,
        units=("mm",) * 3,
    )
    case = read_case(layer)

    for index in ((0, 0, 0), (1, 2, 3), (4, 6, 3)):
        expected = world_to_ras(layer.data_to_world(index))
        voxel = index[::-1]
        assert np.allclose(case.volume.geometry.index_to_world(voxel), expected, atol=1e-6)
        assert np.allclose(case.grid.layer_to_ras(index), expected, atol=1e-6)
        assert case.volume.voxels[voxel] == data[index]


def _affine(axes: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag([0.7, 0.8, 2.5])
    affine[:3, 3] = (12.0, -34.0, 560.0)
    return affine
