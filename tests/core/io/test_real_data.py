"""Real scans: spacings from the tags, grids that agree with their masks, and what cannot be HU."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from colipri_core.errors import VolumeWarning
from colipri_core.io import check_volume
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.io import write_volume
from colipri_core.resample import resample
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")


def test_rspect_spacing_comes_from_the_tags(shared_data):
    folder = shared_data / "dicom" / "rspect_demo"
    volume = read_volume(folder)
    assert volume.spacing == pytest.approx((0.5234375, 0.5234375, 2.0))
    assert volume.shape == (512, 512, 12)
    assert volume.voxels.dtype == np.int16
    assert volume.voxels.min() == -1024
    depths = sorted(float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in folder.rglob("*.dcm"))
    assert volume.geometry.origin[2] == pytest.approx(depths[0])
    assert volume.geometry.index_to_world((0, 0, 11))[2] == pytest.approx(depths[-1])


def test_compressed_slices_without_suffix_lie_on_the_grid_of_their_mask(shared_data):
    volume = read_volume(shared_data / "dicom" / "example_ct_dicom")
    mask = read_labelmap(shared_data / "dicom" / "example_seg_dicom.nii.gz")
    # The mask runs along other axes; brought to the volume's orientation its grid is the same.
    aligned = mask.geometry.reoriented(volume.orientation)
    assert aligned.shape == volume.shape
    np.testing.assert_allclose(aligned.affine, volume.affine, atol=1e-3)
    labels = resample(mask.labelmap, mask.geometry, volume.geometry, order=0)
    assert np.count_nonzero(labels) == np.count_nonzero(mask.labelmap)
    bones = {int(label) for label in np.unique(labels)} - {0}
    means = {label: float(volume.voxels[labels == label].mean()) for label in bones}
    # The structures are organs, muscles and bones of a trunk: none is air, some are bone.
    assert min(means.values()) > -950
    assert max(means.values()) > 100


def test_one_compressed_slice_stands_for_its_series(shared_data):
    folder = shared_data / "dicom" / "example_ct_dicom"
    file = sorted(folder.iterdir())[7]
    one, whole = read_volume(file), read_volume(folder)
    assert one.geometry == whole.geometry
    np.testing.assert_array_equal(one.voxels, whole.voxels)


def test_lung1_mask_lies_on_the_image(shared_data):
    volume = read_volume(shared_data / "pyradiomics" / "lung1_image.nrrd")
    mask = read_labelmap(shared_data / "pyradiomics" / "lung1_label.nrrd")
    assert mask.geometry == volume.geometry
    assert volume.spacing == pytest.approx((0.5703125, 0.5703125, 5.0))
    assert -300 < volume.voxels[mask.labelmap > 0].mean() < 150


@pytest.mark.parametrize("case", ["imlab_id001", "imlab_id002", "imlab_id003"])
def test_lung_masks_hold_lung(shared_data, case):
    volume = read_volume(shared_data / "lung_masks" / f"{case}_ct.nii.gz")
    mask = read_labelmap(shared_data / "lung_masks" / f"{case}_lung.nii.gz")
    assert mask.geometry == volume.geometry
    assert -950 < volume.voxels[mask.labelmap > 0].mean() < -600
    assert volume.unit == "HU"


def test_metaimage_mask_lies_on_its_image(shared_data):
    folder = shared_data / "lung_masks"
    volume = read_volume(folder / "baseline_3DCT_lung.mha")
    mask = read_labelmap(folder / "3DCT_lung_baseline_mask.mha")
    assert mask.geometry == volume.geometry


@pytest.mark.parametrize(
    "name",
    ["totalseg/example_ct.nii.gz", "cip/ct-64.nrrd", "cip/TestInput.nrrd", "lidc/LIDC-IDRI-0001_ct.nii.gz"],
)
def test_real_ct_is_taken_for_hounsfield_units(shared_data, name):
    volume = read_volume(shared_data / name)
    assert volume.unit == "HU"
    assert volume.voxels.dtype == np.int16
    assert not any("Hounsfield" in text for text in check_volume(volume))


def test_windowed_eight_bit_images_are_not(shared_data, tmp_path):
    arrays = np.load(shared_data / "deeplesion" / "CT_Lesion_000001_02_01_008-023.npz")
    values = next(arrays[key] for key in arrays.files if arrays[key].ndim == 3)
    path = write_volume(Volume(voxels=values, affine=np.diag([0.8, 0.8, 5, 1])), tmp_path / "lesion.nii.gz")
    with pytest.warns(VolumeWarning, match="Hounsfield"):
        assert read_volume(path).unit == "unknown"


@pytest.mark.parametrize("suffix", [".dcm", ".seg.nrrd"])
def test_labels_on_real_slices_whose_identifiers_are_not_valid(shared_data, tmp_path, suffix):
    pytest.importorskip("highdicom")
    volume = read_volume(shared_data / "dicom" / "rspect_demo")
    labels = (volume.voxels > 300).astype(np.uint8)
    bone = Segmentation(
        labelmap=labels, geometry=volume.geometry, segments=(Segment(label=1, name="Bone", code="SCT:272673000"),)
    )
    found = read_labelmap(write_labelmap(bone, tmp_path / f"bone{suffix}", source=volume))
    expected, places = (item.geometry.index_to_world(np.argwhere(item.labelmap)) for item in (bone, found))
    order, other = (np.lexsort(np.round(points, 2).T) for points in (expected, places))
    np.testing.assert_allclose(places[other], expected[order], atol=0.01)


def test_dicom_seg_on_real_slices(shared_data, tmp_path):
    pytest.importorskip("highdicom")
    folder = tmp_path / "scan"
    folder.mkdir()
    study, series = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    for file in sorted((shared_data / "dicom" / "example_ct_dicom").iterdir())[:6]:
        dataset = pydicom.dcmread(file)
        # The identifiers were emptied when the scan was anonymised.
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPClassUID = pydicom.uid.CTImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.save_as(folder / file.name, enforce_file_format=True)
    volume = read_volume(folder)
    labels = (volume.voxels > 300).astype(np.uint8)
    bone = Segmentation(
        labelmap=labels, geometry=volume.geometry, segments=(Segment(label=1, name="Bone", code="SCT:272673000"),)
    )
    found = read_labelmap(write_labelmap(bone, tmp_path / "bone.dcm", source=volume))
    occupied = np.argwhere(found.labelmap)
    places = np.round(volume.geometry.world_to_index(found.geometry.index_to_world(occupied))).astype(int)
    assert len(occupied) == labels.sum()
    assert labels[tuple(places.T)].all()
