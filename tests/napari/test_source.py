"""From layers to volumes: which layers count, what is taken as true, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from napari.layers import Labels
from scenes import OBLIQUE

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.volume import Volume
from napari_colipri.reader import layer_data
from napari_colipri.source import LayerSource
from napari_colipri.source import is_candidate
from napari_colipri.source import layer_grid
from napari_colipri.source import read_case


def as_layer(volume: Volume) -> Image:
    data, attributes, _ = layer_data(volume)
    return Image(data, **attributes)


@pytest.mark.parametrize(
    "layer",
    [
        Image(np.zeros((8, 8))),
        Image(np.zeros((4, 5, 6, 7))),
        Image(np.zeros((4, 8, 8, 3)), rgb=True),
        Labels(np.zeros((4, 5, 6), int)),
    ],
    ids=["2D", "4D", "RGB", "labels"],
)
def test_what_is_no_ct_is_refused_with_the_remedy(layer: Image) -> None:
    assert not is_candidate(layer)
    with pytest.raises(UnsupportedVolumeError, match=r"Expected a 3D single-channel image.*choose its layer"):
        read_case(layer)


def test_the_volume_comes_back_as_it_was_read(oblique_volume: Volume) -> None:
    case = read_case(as_layer(oblique_volume))

    assert np.array_equal(case.volume.voxels, oblique_volume.voxels)
    assert np.allclose(case.volume.affine, OBLIQUE)
    assert case.volume.sha256 == oblique_volume.sha256
    assert any("Oblique" in note for note in case.notes)


def test_voxels_are_shared_with_the_layer(volume: Volume) -> None:
    layer = as_layer(volume)

    assert np.shares_memory(read_case(layer).volume.voxels, layer.data)


def test_a_layer_moved_by_hand_is_taken_as_it_is_shown(oblique_volume: Volume) -> None:
    layer = as_layer(oblique_volume)
    layer.translate = np.add(layer.translate, (5.0, 0.0, 0.0))

    case = read_case(layer)

    assert not np.allclose(case.volume.affine, OBLIQUE)
    assert np.allclose(case.grid.layer_to_ras((0, 0, 0))[2], layer.data_to_world((0, 0, 0))[0])
    assert any("moved" in note for note in case.notes)


def test_micrometres_become_millimetres() -> None:
    layer = Image(np.zeros((3, 4, 5)), scale=(2000.0, 500.0, 500.0), units=("um",) * 3)

    assert layer_grid(layer).geometry.spacing == pytest.approx((0.5, 0.5, 2.0))


def test_a_layer_without_a_length_unit_says_so() -> None:
    assert any("no length unit" in note for note in read_case(Image(np.zeros((3, 4, 5)))).notes)


def test_a_multiscale_layer_gives_its_finest_level() -> None:
    fine = np.random.default_rng(0).normal(size=(8, 8, 8))
    layer = Image([fine, fine[::2, ::2, ::2]], multiscale=True)

    assert np.array_equal(read_case(layer).volume.voxels, fine.transpose(2, 1, 0))


def test_results_are_no_candidates(volume: Volume) -> None:
    layer = as_layer(volume)
    source = layer.metadata["colipri"]
    layer.metadata["colipri"] = LayerSource(geometry=source.geometry, unit="", name="x", role="evidence")

    assert not is_candidate(layer)


def test_a_mask_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedVolumeError, match="a mask belongs in a Labels layer"):
        read_case(Image(np.zeros((3, 4, 5), dtype=bool)))
