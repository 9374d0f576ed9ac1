"""DICOM SEG: segments lie where they were drawn, and refer to the right images."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_writer import SeriesOptions
from dicom_writer import write_multiframe
from dicom_writer import write_series
from geometry_strategies import geometries
from hypothesis import given
from hypothesis import settings

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import Paint
from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.errors import VolumeWarning
from colipri_core.geometry import VolumeGeometry
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.prompts import Crop
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.segmentation import Origin
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

pytest.importorskip("highdicom")
pytestmark = pytest.mark.filterwarnings("ignore")

AFFINE = np.array([[-0.7, 0, 0, 150], [0, -0.7, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])
SEGMENTS = (
    Segment(label=2, name="Left upper lung lobe", code="SCT:44714003", color=(128, 174, 228)),
    Segment(label=5, name="Nodule"),
    Segment(label=9, name="Aorta", code="SCT:15825003", color=(224, 97, 76)),
)
CARD = ModelCard(
    name="tiny", sha256="0" * 64, kind="colipri", training_data="Phantoms.", synthetic=True, licence="Apache-2.0"
)


def read_series(folder: Path, geometry: VolumeGeometry, **options) -> Volume:
    hu = np.random.default_rng(0).integers(-1024, 1500, geometry.shape)
    write_series(folder, hu, geometry.affine, SeriesOptions(**options))
    return read_volume(folder)


def segmented(volume: Volume, *, provenance: Provenance | None = None) -> Segmentation:
    labels = np.random.default_rng(1).choice([0, 0, 2, 5], volume.shape).astype(np.uint8)
    return Segmentation(labelmap=labels, geometry=volume.geometry, segments=SEGMENTS, provenance=provenance)


@given(geometry=geometries(smallest=3, largest=8))
@settings(max_examples=10)
def test_written_and_read_again_at_the_same_place(geometry):
    with tempfile.TemporaryDirectory() as folder:
        volume = read_series(Path(folder) / "scan", geometry)
        segmentation = segmented(volume)
        found = read_labelmap(write_labelmap(segmentation, Path(folder) / "mask.dcm", source=volume))
    expected = np.select([segmentation.labelmap == 2, segmentation.labelmap == 5], [1, 2])
    indices = np.argwhere(found.labelmap >= 0)
    places = np.round(volume.geometry.world_to_index(found.geometry.index_to_world(indices))).astype(int)
    np.testing.assert_array_equal(found.labelmap.reshape(-1), expected[tuple(places.T)])


def test_segments_codes_and_references(tmp_path):
    volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(9, 8, 6), affine=AFFINE), order=(3, 0, 5, 1, 4, 2))
    provenance = Provenance(model=CARD, preprocessing={}, versions={}, device="cpu", timings={})
    path = write_labelmap(segmented(volume, provenance=provenance), tmp_path / "mask.dcm", source=volume)
    stored = pydicom.dcmread(path)
    identifiers = volume.metadata["dicom"]
    assert stored.StudyInstanceUID == identifiers["study_uid"]
    assert stored.SeriesInstanceUID != identifiers["series_uid"]
    assert stored.FrameOfReferenceUID == identifiers["frame_of_reference_uid"]
    assert stored.PatientID == "0815"
    assert [item.SegmentLabel for item in stored.SegmentSequence] == ["Left upper lung lobe", "Nodule"]
    code = stored.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("44714003", "SCT")
    assert stored.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert stored.SegmentSequence[0].SegmentAlgorithmName == "tiny"
    assert "not for diagnosis" in stored.ContentDescription
    referenced = stored.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == identifiers["series_uid"]
    uids = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
    assert uids == set(identifiers["sop_instance_uids"])


def test_read_back_names_and_colours(tmp_path):
    volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(9, 8, 6), affine=AFFINE))
    found = read_labelmap(write_labelmap(segmented(volume), tmp_path / "mask.dcm", source=volume))
    assert [(s.name, s.code) for s in found.segments] == [("Left upper lung lobe", "SCT:44714003"), ("Nodule", "")]
    assert np.abs(np.subtract(found.segments[0].color, SEGMENTS[0].color)).max() <= 2


def test_multiframe_source(tmp_path):
    hu = np.random.default_rng(0).integers(-1024, 1500, (9, 8, 6))
    write_multiframe(tmp_path / "scan.dcm", hu, AFFINE, order=(2, 0, 5, 1, 4, 3))
    volume = read_volume(tmp_path / "scan.dcm")
    segmentation = segmented(volume)
    found = read_labelmap(write_labelmap(segmentation, tmp_path / "mask.dcm", source=volume))
    expected = np.select([segmentation.labelmap == 2, segmentation.labelmap == 5], [1, 2])
    indices = np.argwhere(found.labelmap >= 0)
    places = np.round(volume.geometry.world_to_index(found.geometry.index_to_world(indices))).astype(int)
    np.testing.assert_array_equal(found.labelmap.reshape(-1), expected[tuple(places.T)])


ROTATION = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
SOURCES = {
    "axial": AFFINE,
    "head first to feet first": AFFINE @ np.diag([1.0, 1.0, -1.0, 1.0]),
    "sagittal": np.array([[0, 0, 3.0, -90], [0.6, 0, 0, 120], [0, -0.6, 0, 40], [0, 0, 0, 1]]),
    "coronal, mirrored": np.array([[0.6, 0, 0, -90], [0, 0, 2.5, 120], [0, 0.9, 0, 40], [0, 0, 0, 1]]),
    "oblique, anisotropic": np.block([[ROTATION * [0.7, 0.9, 4.0], np.array([[-80], [30], [-200]])], [np.zeros(3), 1]]),
    "oblique, flipped": np.block([[ROTATION * [-0.7, 0.9, -1.5], np.array([[60], [30], [9]])], [np.zeros(3), 1]]),
}


@pytest.mark.parametrize("affine", SOURCES.values(), ids=list(SOURCES))
def test_edited_labels_come_back_voxel_for_voxel_on_the_sources_grid(affine, tmp_path):
    volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(13, 11, 7), affine=affine))
    editor = LabelEditor(volume)
    for label, corner in ((1, (0, 0, 0)), (2, (5, 3, 2)), (3, (12, 10, 6))):
        lower = tuple(max(0, c - 1) for c in corner)
        mask = np.ones([min(3, size - a) for a, size in zip(lower, volume.shape, strict=True)], dtype=bool)
        editor.apply(Paint(voxels=Crop(lower=lower, mask=mask), label=label))
    edited = Segmentation(labelmap=editor.labelmap, geometry=volume.geometry, segments=editor.segments)
    found = read_labelmap(write_labelmap(edited, tmp_path / "mask.dcm", source=volume))
    assert [segment.name for segment in found.segments] == ["Object 1", "Object 2", "Object 3"]
    # A SEG may hold only the slices that were drawn on: place each of its voxels among the source's.
    indices = np.stack(np.meshgrid(*map(np.arange, found.labelmap.shape), indexing="ij"), axis=-1)
    places = volume.geometry.world_to_index(found.geometry.index_to_world(indices))
    assert np.abs(places - np.round(places)).max() < 1e-3
    again = np.zeros(volume.shape, dtype=np.uint8)
    i, j, k = np.moveaxis(np.round(places).astype(int), -1, 0)
    again[i, j, k] = found.labelmap
    np.testing.assert_array_equal(again, editor.labelmap)


def read_by_dcmqi(path: Path, folder: Path, geometry: VolumeGeometry) -> tuple[list[dict], list[np.ndarray]]:
    """What QIICR's reader, which 3D Slicer uses as well (https://github.com/QIICR/dcmqi), finds in a DICOM SEG.

    Returns:
        The segments as it describes them, and the voxels (N, 3) of each on a grid.
    """
    pytest.importorskip("dcmqi", reason="dcmqi is not installed: pip install dcmqi")
    folder.mkdir()
    program = Path(sys.executable).with_name("segimage2itkimage")
    command = [program, "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120)
    meta = json.loads((folder / "meta.json").read_text())
    described = [item for group in meta["segmentAttributes"] for item in group]
    voxels = []
    for number in range(1, len(described) + 1):
        image = SimpleITK.ReadImage(str(folder / f"{number}.nrrd"))
        indices = np.argwhere(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0))
        places = [image.TransformIndexToPhysicalPoint(index) for index in indices.tolist()]
        found = geometry.world_to_index(np.asarray(places) * [-1.0, -1.0, 1.0])
        assert np.abs(found - np.round(found)).max() < 1e-3
        voxels.append(np.unique(np.round(found).astype(int), axis=0))
    return described, voxels


@pytest.mark.parametrize("affine", SOURCES.values(), ids=list(SOURCES))
def test_dcmqi_reads_every_segment_voxel_for_voxel(affine, tmp_path):
    volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(13, 11, 7), affine=affine))
    segmentation = segmented(volume)
    path = write_labelmap(segmentation, tmp_path / "mask.dcm", source=volume)
    described, voxels = read_by_dcmqi(path, tmp_path / "out", volume.geometry)
    assert [item["SegmentLabel"] for item in described] == ["Left upper lung lobe", "Nodule"]
    assert described[0]["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "44714003"
    for found, label in zip(voxels, (2, 5), strict=True):
        np.testing.assert_array_equal(found, np.argwhere(segmentation.labelmap == label))


def test_a_real_ct_keeps_its_labels(shared_data, tmp_path):
    series, frame_of_reference = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    for number, file in enumerate(sorted((shared_data / "dicom" / "example_ct_dicom").iterdir())):
        dataset = pydicom.dcmread(file)  # its anonymisation took the identifiers a SEG has to refer to
        dataset.SeriesInstanceUID = dataset.StudyInstanceUID = series
        dataset.FrameOfReferenceUID = frame_of_reference
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset.save_as(tmp_path / f"{number}.dcm")
    volume = read_volume(tmp_path)
    dense = volume.voxels > 300
    edited = Segmentation(
        labelmap=dense.astype(np.uint8), geometry=volume.geometry, segments=(Segment(label=1, name="Bone"),)
    )
    found = read_labelmap(write_labelmap(edited, tmp_path / "mask.dcm", source=volume))
    offset = np.round(volume.geometry.world_to_index(found.geometry.origin)).astype(int)
    step = np.round(np.linalg.inv(volume.affine[:3, :3]) @ found.geometry.affine[:3, :3]).astype(int)
    places = np.argwhere(found.labelmap) @ step.T + offset
    np.testing.assert_array_equal(np.unique(places, axis=0), np.argwhere(dense))


class TestAnonymisedImages:
    """Real ones: identifiers emptied, or text in their place; the files' meta information still names the images."""

    FOLDERS = ("example_ct_dicom", "rspect_demo/train")

    @pytest.fixture(params=FOLDERS)
    def real(self, request, shared_data) -> Volume:
        return read_volume(shared_data / "dicom" / request.param)

    def bone(self, volume: Volume) -> Segmentation:
        dense = (volume.voxels > 300).astype(np.uint8)
        return Segmentation(
            labelmap=dense, geometry=volume.geometry, segments=(Segment(label=1, name="Bone", code="SCT:272673000"),)
        )

    def test_highdicom_and_dcmqi_read_every_voxel_at_its_place(self, real, tmp_path):
        edited = self.bone(real)
        path = write_labelmap(edited, tmp_path / "mask.dcm", source=real)
        found = read_labelmap(path)
        offset = np.round(real.geometry.world_to_index(found.geometry.origin)).astype(int)
        step = np.round(np.linalg.inv(real.affine[:3, :3]) @ found.geometry.affine[:3, :3]).astype(int)
        places = np.argwhere(found.labelmap) @ step.T + offset
        expected = np.argwhere(edited.labelmap)
        np.testing.assert_array_equal(np.unique(places, axis=0), expected)
        described, voxels = read_by_dcmqi(path, tmp_path / "out", real.geometry)
        assert [item["SegmentLabel"] for item in described] == ["Bone"]
        np.testing.assert_array_equal(voxels[0], expected)

    def test_it_refers_to_the_images_by_their_own_names_and_says_what_was_derived(self, real, tmp_path):
        with pytest.warns(VolumeWarning, match="no valid StudyInstanceUID"):
            path = write_labelmap(self.bone(real), tmp_path / "mask.dcm", source=real)
        stored = pydicom.dcmread(path)
        assert "source UIDs derived" in stored.ContentDescription
        assert "not for diagnosis" in stored.ContentDescription
        metas = [pydicom.dcmread(file, stop_before_pixels=True).file_meta for file in real.metadata["dicom"]["files"]]
        named = stored.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert {item.ReferencedSOPInstanceUID for item in named} == {meta.MediaStorageSOPInstanceUID for meta in metas}
        assert {item.ReferencedSOPClassUID for item in named} == {pydicom.uid.CTImageStorage}

    def test_every_export_of_one_series_is_in_the_same_study(self, real, tmp_path):
        first, second = (
            pydicom.dcmread(write_labelmap(self.bone(real), tmp_path / name, source=real))
            for name in ("first.dcm", "second.dcm")
        )
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            assert first[keyword].value == second[keyword].value
            assert first[keyword].value.is_valid
        referenced = [stored.ReferencedSeriesSequence[0].SeriesInstanceUID for stored in (first, second)]
        assert referenced[0] == referenced[1]
        assert first.SOPInstanceUID != second.SOPInstanceUID
        assert referenced[0] != first.StudyInstanceUID

    def test_a_valid_frame_of_reference_is_kept(self, shared_data, tmp_path):
        volume = read_volume(shared_data / "dicom" / "example_ct_dicom")
        with pytest.warns(VolumeWarning) as caught:
            stored = pydicom.dcmread(write_labelmap(self.bone(volume), tmp_path / "mask.dcm", source=volume))
        assert stored.FrameOfReferenceUID == volume.metadata["dicom"]["frame_of_reference_uid"]
        assert not any("FrameOfReferenceUID" in str(warning.message) for warning in caught)

    def test_two_series_do_not_share_what_is_derived(self, shared_data, tmp_path):
        studies = set()
        for number, folder in enumerate(self.FOLDERS):
            volume = read_volume(shared_data / "dicom" / folder)
            path = write_labelmap(self.bone(volume), tmp_path / f"{number}.dcm", source=volume)
            studies.add(pydicom.dcmread(path).StudyInstanceUID)
        assert len(studies) == 2


def test_what_is_valid_is_neither_changed_nor_warned_about(tmp_path):
    volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(9, 8, 6), affine=AFFINE))
    with warnings.catch_warnings():
        warnings.simplefilter("error", VolumeWarning)
        path = write_labelmap(segmented(volume), tmp_path / "mask.dcm", source=volume)
    assert pydicom.dcmread(path).ContentDescription == "Research use only, not for diagnosis"


def test_an_identifier_that_some_images_lost_is_that_of_the_others(tmp_path):
    def strip(k, dataset):
        if k % 2:
            del dataset.FrameOfReferenceUID

    geometry = VolumeGeometry(shape=(9, 8, 6), affine=AFFINE)
    volume = read_series(tmp_path / "scan", geometry, edit=strip)
    stored = pydicom.dcmread(write_labelmap(segmented(volume), tmp_path / "mask.dcm", source=volume))
    images = [pydicom.dcmread(file, stop_before_pixels=True) for file in volume.metadata["dicom"]["files"]]
    assert {stored.FrameOfReferenceUID} == {
        image.FrameOfReferenceUID for image in images if "FrameOfReferenceUID" in image
    }


@pytest.mark.parametrize(
    ("kind", "expected"), [("clicks", "SEMIAUTOMATIC"), ("colipri", "AUTOMATIC"), (None, "MANUAL")]
)
def test_who_drew_the_segments(kind, expected, tmp_path):
    volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(9, 8, 6), affine=AFFINE))
    provenance = None
    if kind is not None:
        card = dataclasses.replace(CARD, kind=kind)
        provenance = Provenance(model=card, preprocessing={}, versions={}, device="cpu", timings={})
    path = write_labelmap(segmented(volume, provenance=provenance), tmp_path / "mask.dcm", source=volume)
    assert {item.SegmentAlgorithmType for item in pydicom.dcmread(path).SegmentSequence} == {expected}


def test_who_drew_which_segment_of_an_edited_one(tmp_path):
    volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(9, 8, 6), affine=AFFINE))
    clicks = dataclasses.replace(CARD, name="clicks", kind="clicks")
    provenance = Provenance(model=CARD, preprocessing={}, versions={}, device="cpu", timings={})
    origins = {2: Origin(model=CARD), 5: Origin(by_hand=True), 9: Origin(model=clicks)}
    edited = dataclasses.replace(segmented(volume, provenance=provenance), origins=origins)
    edited.labelmap[0] = 9
    path = write_labelmap(edited, tmp_path / "mask.dcm", source=volume)
    found = [
        (item.SegmentAlgorithmType, item.get("SegmentAlgorithmName")) for item in pydicom.dcmread(path).SegmentSequence
    ]
    assert found == [("AUTOMATIC", "tiny"), ("MANUAL", None), ("SEMIAUTOMATIC", "clicks")]
    corrected = dataclasses.replace(edited, origins={**origins, 2: Origin(model=CARD, by_hand=True)})
    path = write_labelmap(corrected, tmp_path / "corrected.dcm", source=volume)
    assert pydicom.dcmread(path).SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"


class TestRefusals:
    @pytest.fixture
    def volume(self, tmp_path) -> Volume:
        return read_series(tmp_path / "scan", VolumeGeometry(shape=(9, 8, 6), affine=AFFINE))

    def refused(self, segmentation: Segmentation, source: Volume | None, path: Path, found: str) -> None:
        with pytest.raises(UnsupportedVolumeError, match=found) as caught:
            write_labelmap(segmentation, path, source=source)
        assert ".seg.nrrd" in str(caught.value)
        assert not path.exists()

    def test_no_source(self, volume, tmp_path):
        self.refused(segmented(volume), None, tmp_path / "mask.dcm", "not read from DICOM")

    def test_source_from_nifti(self, volume, tmp_path):
        other = Volume(voxels=volume.voxels, affine=volume.affine)
        self.refused(segmented(other), other, tmp_path / "mask.dcm", "not read from DICOM")

    def test_another_grid(self, volume, tmp_path):
        moved = volume.affine + np.array([[0, 0, 0, 5.0]] + [[0] * 4] * 3)
        other = Volume(voxels=volume.voxels, affine=moved)
        self.refused(segmented(other), volume, tmp_path / "mask.dcm", "another place")

    def test_files_that_are_gone(self, volume, tmp_path):
        for file in (tmp_path / "scan").iterdir():
            file.unlink()
        self.refused(segmented(volume), volume, tmp_path / "mask.dcm", "no longer where they were")

    def test_nothing_labelled(self, volume, tmp_path):
        empty = Segmentation(
            labelmap=np.zeros(volume.shape, dtype=np.uint8), geometry=volume.geometry, segments=SEGMENTS
        )
        self.refused(empty, volume, tmp_path / "mask.dcm", "without a labelled voxel")

    def test_identifiers_stripped_by_anonymisation(self, tmp_path):
        def strip(_k, dataset):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "anonymised"

        geometry = VolumeGeometry(shape=(9, 8, 6), affine=AFFINE)
        volume = read_series(tmp_path / "scan", geometry, edit=strip)
        self.refused(segmented(volume), volume, tmp_path / "mask.dcm", "valid SOPInstanceUID")

    def test_images_of_one_name(self, tmp_path):
        def rename(_k, dataset):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"

        volume = read_series(tmp_path / "scan", VolumeGeometry(shape=(9, 8, 6), affine=AFFINE), edit=rename)
        self.refused(segmented(volume), volume, tmp_path / "mask.dcm", "share a SOPInstanceUID")

    def test_reading_another_object(self, volume, tmp_path):
        image = next((tmp_path / "scan").iterdir()).rename(tmp_path / "mask.dcm")
        with pytest.raises(UnreadableInputError, match="another object"):
            read_labelmap(image)
