"""Files to layers and back: true geometry, sensible windows, honest refusals."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_writer import SeriesOptions
from dicom_writer import write_series
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers import Labels
from scenes import OBLIQUE
from scenes import chest_like

from colipri_core.errors import InputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_volume
from napari_colipri.reader import get_reader
from napari_colipri.sample import phantom_chest
from napari_colipri.source import layer_grid
from napari_colipri.writer import write_image
from napari_colipri.writer import write_labels

AXIAL = np.diag([-0.8, -0.8, 2.5, 1.0])


def opened(path: Path) -> list[Image]:
    reader = get_reader(str(path))
    assert reader is not None
    return [Image(data, **attributes) for data, attributes, _ in reader(str(path))]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_file_opens_with_its_true_geometry(tmp_path: Path, suffix: str) -> None:
    volume = chest_like(affine=OBLIQUE)
    write_volume(volume, tmp_path / f"case{suffix}")

    [layer] = opened(tmp_path / f"case{suffix}")

    grid = layer_grid(layer)
    assert np.allclose(grid.geometry.affine, OBLIQUE, atol=1e-3)
    point = volume.geometry.index_to_world((3, 30, 20))
    assert layer.data[tuple(np.round(grid.ras_to_layer(point)).astype(int))] == volume.voxels[3, 30, 20]
    assert tuple(layer.contrast_limits) == (-160.0, 240.0)
    assert layer.name == "case"


def test_a_dicom_folder_opens(tmp_path: Path) -> None:
    hu = chest_like((16, 12, 6)).voxels
    write_series(tmp_path / "study", hu, AXIAL)

    [layer] = opened(tmp_path / "study")

    assert layer.data.shape == (6, 12, 16)
    assert np.array_equal(layer_grid(layer).to_volume(layer.data), hu)


def test_several_series_become_a_layer_each(tmp_path: Path) -> None:
    hu = chest_like((16, 12, 6)).voxels
    write_series(tmp_path / "study" / "a", hu, AXIAL)
    write_series(tmp_path / "study" / "b", hu[:, :, :5], AXIAL, SeriesOptions(number=4))

    layers = opened(tmp_path / "study")

    assert sorted(layer.data.shape for layer in layers) == [(5, 12, 16), (6, 12, 16)]


def test_what_is_not_ours_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr" / "0").write_bytes(b"x" * 200)

    assert get_reader(str(tmp_path / "zarr")) is None
    assert get_reader(str(tmp_path / "picture.png")) is None


def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "cut.nii.gz"
    path.write_bytes(b"\x1f\x8b garbage")
    reader = get_reader(str(path))
    assert reader is not None

    with pytest.raises(InputError, match=r"cut\.nii\.gz"):
        reader(str(path))


def test_doubts_about_the_intensities_are_notified(tmp_path: Path, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", shown.append)
    grey = np.random.default_rng(0).integers(0, 255, (16, 12, 10)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(grey, AXIAL), tmp_path / "windowed.nii.gz")

    [layer] = opened(tmp_path / "windowed.nii.gz")

    assert shown
    assert layer.metadata["colipri"].unit == "unknown"


def test_the_sample_opens_offline() -> None:
    [(data, attributes, kind)] = phantom_chest()

    assert kind == "image"
    assert min(data.shape) > 80
    assert data.min() <= -900
    layer = Image(data, **attributes)
    middle = np.asarray(data.shape) // 2
    assert np.allclose(attributes["scale"], layer_grid(layer).geometry.spacing[::-1])
    assert -200 < np.median(data[middle[0], middle[1] - 15 : middle[1] + 15, middle[2] - 5 : middle[2] + 5]) < 300


@pytest.mark.parametrize("folder", ["pyradiomics/lung1_image.nrrd", "lung_masks/imlab_id001_ct.nii.gz"])
def test_real_scans_lie_where_their_headers_say(shared_data: Path, folder: str) -> None:
    path = shared_data / folder
    volume = read_volume(path)
    [layer] = opened(path)
    grid = layer_grid(layer)

    for voxel in ((10, 20, 5), (100, 90, 40)):
        index = np.round(grid.ras_to_layer(volume.geometry.index_to_world(voxel))).astype(int)
        assert layer.data[tuple(index)] == volume.voxels[voxel]


class TestWriter:
    @pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
    def test_labels_painted_on_an_oblique_ct_carry_its_true_affine(
        self, tmp_path: Path, suffix: str, monkeypatch
    ) -> None:
        viewer = ViewerModel()
        monkeypatch.setattr("napari.current_viewer", lambda: viewer)
        write_volume(chest_like(affine=OBLIQUE), tmp_path / "ct.nii.gz")
        [ct] = opened(tmp_path / "ct.nii.gz")
        viewer.add_layer(ct)
        painted = Labels(np.zeros(ct.data.shape, np.int32), scale=ct.scale, translate=ct.translate, units=ct.units)
        painted.data[2, 3, 4] = 7

        [written] = write_labels(str(tmp_path / f"out{suffix}"), *painted.as_layer_data_tuple()[:2])

        segmentation = read_labelmap(written)
        assert np.allclose(segmentation.geometry.affine, OBLIQUE, atol=1e-3)
        voxel = tuple(int(value) for value in np.argwhere(segmentation.labelmap == 7)[0])
        expected = layer_grid(ct).layer_to_ras((2, 3, 4))
        assert np.allclose(segmentation.geometry.index_to_world(voxel), expected, atol=1e-2)
        assert [segment.name for segment in segmentation.segments] == ["Label 7"]

    def test_names_codes_and_colours_of_structures_are_written(self, dock, settle, viewer, tmp_path: Path) -> None:
        dock.workflow.outline()
        settle(dock)
        dock.structures.toggle(dock.structures_panel.model.rows[1])
        layer = viewer.layers["structures: chest-like"]

        [written] = write_labels(str(tmp_path / "out.seg.nrrd"), *layer.as_layer_data_tuple()[:2])

        segmentation = read_labelmap(written)
        assert [segment.name for segment in segmentation.segments] == ["Airways", "Heart", "Spine"]
        assert segmentation.segment("Heart").color == (206, 110, 84)
        assert np.allclose(segmentation.geometry.affine, chest_like().affine)

    def test_a_heat_map_is_written_in_patient_space(self, dock, settle, viewer, tmp_path: Path) -> None:
        dock.workflow.show_evidence("Lung nodule")
        settle(dock)
        layer = viewer.layers["evidence: Lung nodule"]

        [written] = write_image(str(tmp_path / "map.nii.gz"), *layer.as_layer_data_tuple()[:2])

        saved = nibabel.load(written)
        assert np.allclose(saved.affine, chest_like().affine)
        assert saved.get_fdata().max() == pytest.approx(1.0)

    def test_negative_labels_are_refused(self, tmp_path: Path) -> None:
        layer = Labels(np.full((3, 4, 5), -1))

        with pytest.raises(UnsupportedVolumeError, match="Expected labels from 0"):
            write_labels(str(tmp_path / "out.nii.gz"), *layer.as_layer_data_tuple()[:2])
