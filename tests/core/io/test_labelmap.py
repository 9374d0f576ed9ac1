"""Labelmaps: names, codes, colours and places survive every format."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from geometry_strategies import geometries
from hypothesis import given
from hypothesis import settings

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import VolumeGeometry
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.io import write_volume
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

SEGMENTS = (
    Segment(label=1, name="Left upper lung lobe", code="SCT:44714003", color=(128, 174, 228)),
    Segment(label=3, name="Nodule; ~ odd | name", code="", color=(1, 254, 77)),
    Segment(label=200, name="Aorta", code="SCT:15825003", color=(224, 97, 76)),
)
SUFFIXES = [".nii.gz", ".nii", ".mha", ".nrrd", ".seg.nrrd"]


def labels(geometry: VolumeGeometry) -> np.ndarray:
    return np.random.default_rng(0).choice([0, 0, 1, 3, 200], geometry.shape).astype(np.uint8)


def example() -> Segmentation:
    affine = np.array([[0, -0.7, 0, 150], [-0.7, 0, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])
    geometry = VolumeGeometry(shape=(9, 8, 6), affine=affine)
    return Segmentation(labelmap=labels(geometry), geometry=geometry, segments=SEGMENTS)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(geometry=geometries(largest=9))
@settings(max_examples=8)
def test_written_and_read_again(suffix, geometry):
    segmentation = Segmentation(labelmap=labels(geometry), geometry=geometry, segments=SEGMENTS)
    with tempfile.TemporaryDirectory() as folder:
        found = read_labelmap(write_labelmap(segmentation, Path(folder) / f"mask{suffix}"))
    np.testing.assert_array_equal(found.labelmap, segmentation.labelmap)
    assert found.labelmap.dtype == np.uint8
    np.testing.assert_allclose(found.geometry.affine, geometry.affine, rtol=1e-6, atol=1e-4)
    assert found.segments == SEGMENTS


def test_labels_beyond_a_byte(tmp_path):
    segmentation = example()
    wide = Segmentation(
        labelmap=segmentation.labelmap.astype(np.uint16) * 300,
        geometry=segmentation.geometry,
        segments=tuple(Segment(label=300 * s.label, name=s.name) for s in SEGMENTS),
    )
    found = read_labelmap(write_labelmap(wide, tmp_path / "mask.nii.gz"))
    assert found.labelmap.dtype == np.uint16
    np.testing.assert_array_equal(found.labelmap, wide.labelmap)


def test_slicer_fields(tmp_path):
    path = write_labelmap(example(), tmp_path / "mask.seg.nrrd")
    header = path.read_bytes().split(b"\n\n", 1)[0].decode()
    assert "Segment0_Name:=Left upper lung lobe" in header
    assert "Segment0_LabelValue:=1" in header
    assert "Segment0_Color:=0.501961 0.682353 0.894118" in header
    assert "Segment0_Layer:=0" in header
    assert "~SCT^123037004^Anatomical Structure~SCT^44714003^Left upper lung lobe~" in header
    assert "Segmentation_ContainedRepresentationNames:=Binary labelmap|" in header
    where = np.argwhere(example().labelmap == 200)
    extent = " ".join(f"{low} {high}" for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))
    assert f"Segment2_Extent:={extent}" in header


def test_slicerio_reads_the_same(tmp_path):
    slicerio = pytest.importorskip("slicerio")
    path = write_labelmap(example(), tmp_path / "mask.seg.nrrd")
    found = slicerio.read_segmentation(str(path))
    np.testing.assert_array_equal(found["voxels"], example().labelmap)
    lps = np.diag([-1, -1, 1, 1]) @ example().geometry.affine
    np.testing.assert_allclose(found["ijkToLPS"], lps, atol=1e-6)
    assert [segment["name"] for segment in found["segments"]] == [segment.name for segment in SEGMENTS]
    assert found["segments"][0]["terminology"]["type"] == ["SCT", "44714003", "Left upper lung lobe"]


def test_absent_segment_has_an_empty_extent(tmp_path):
    absent = Segment(label=7, name="Heart")
    segmentation = Segmentation(labelmap=example().labelmap, geometry=example().geometry, segments=(*SEGMENTS, absent))
    path = write_labelmap(segmentation, tmp_path / "mask.seg.nrrd")
    assert b"Segment3_Extent:=0 -1 0 -1 0 -1" in path.read_bytes()
    assert read_labelmap(path).segments == (*SEGMENTS, absent)


def test_undescribed_labels_are_named_after_their_number(tmp_path):
    path = write_labelmap(example(), tmp_path / "mask.nii.gz")
    (tmp_path / "mask.json").unlink()
    assert [segment.name for segment in read_labelmap(path).segments] == ["Label 1", "Label 3", "Label 200"]


def test_sidecar_says_volumes_too(tmp_path):
    write_labelmap(example(), tmp_path / "mask.nii.gz")
    document = json.loads((tmp_path / "mask.json").read_text())
    assert document["segments"][2]["code"] == "SCT:15825003"
    assert document["segments"][2]["volume_ml"] > 0


def test_damaged_sidecar_is_refused(tmp_path):
    path = write_labelmap(example(), tmp_path / "mask.nii.gz")
    (tmp_path / "mask.json").write_text('{"segments": [{"name": "no label"}]}')
    with pytest.raises(UnreadableInputError, match=r"mask\.json"):
        read_labelmap(path)


@pytest.mark.parametrize(
    ("segments", "found"),
    [
        (["liver"], "'liver'"),
        ({"1": "liver"}, "'1'"),
        (None, "not iterable"),
        ([{"label": 1, "name": None}], "no label and name"),
        ([{"label": 0, "name": "a"}], r"labels \[0\]"),
        ([{"label": -1, "name": "a"}], r"labels \[-1\]"),
        ([{"label": 1, "name": "a"}, {"label": 1, "name": "b"}], r"labels \[1, 1\]"),
        ([{"label": float("inf"), "name": "a"}], "infinity"),
        ([{"label": 1, "name": "a", "color": [1, 2]}], "got 2"),
        ([{"label": 1, "name": "a", "color": [1, 2, 300]}], "300"),
        ([{"label": 1, "name": "a", "color": 7}], "not iterable"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused_with_what_was_found(tmp_path, segments, found):
    path = write_labelmap(example(), tmp_path / "mask.nii.gz")
    (tmp_path / "mask.json").write_text(json.dumps({"segments": segments}))
    with pytest.raises(UnreadableInputError, match=found) as caught:
        read_labelmap(path)
    assert "mask.json" in str(caught.value)
    assert "move it away" in str(caught.value)


@pytest.mark.parametrize("content", ['{"Manual": true}', "[1]", '{"1": "liver"}'])
def test_a_json_file_of_another_kind_leaves_the_labelmap_undescribed(tmp_path, content):
    path = write_labelmap(example(), tmp_path / "mask.nii.gz")
    (tmp_path / "mask.json").write_text(content)
    assert [segment.name for segment in read_labelmap(path).segments] == ["Label 1", "Label 3", "Label 200"]


def with_field(tmp_path: Path, key: bytes, line: bytes) -> Path:
    """The example as a file of 3D Slicer, with one line of its header replaced."""
    path = write_labelmap(example(), tmp_path / "mask.seg.nrrd")
    changed = re.sub(rb"\n" + key + rb":=[^\n]*", lambda _: b"\n" + line, path.read_bytes())
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize(
    "line",
    [
        b"Segment0_Color:=1 0",
        b"Segment0_Color:=",
        b"Segment0_Color:=red green blue",
        b"Segment0_Color:=inf 0 0",
        b"Segment0_Color:=nan 0 0",
        b"Segment0_Color:=128 0 0",
        b"Segment0_LabelValue:=one",
        b"Segment0_LabelValue:=0",
        b"Segment0_LabelValue:=3",
        b"Segment0_LabelValue:=70000",
    ],
)
def test_fields_of_slicer_that_cannot_be_used_are_refused(tmp_path, line):
    path = with_field(tmp_path, line.partition(b":=")[0], line)
    with pytest.raises(UnreadableInputError, match=r"mask\.seg\.nrrd.+expected segments with a label and a colour"):
        read_labelmap(path)


def test_header_texts_in_latin_1_do_not_make_a_file_unreadable(tmp_path):
    path = with_field(tmp_path, b"Segment0_Name", b"Segment0_Name:=Gr\xf6\xdfe\nGr\xf6\xdfe:=12")
    assert read_labelmap(path).segments[0].name == "Gr\u00f6\u00dfe"
    path.rename(tmp_path / "scan.nrrd")
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nrrd").voxels, example().labelmap)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_code_without_a_scheme_is_kept(tmp_path, suffix):
    segments = (Segment(label=1, name="One", code="nodule"), Segment(label=3, name="Three", code="SCT"))
    segments += (Segment(label=200, name="Aorta", code="SCT:15825003"),)
    coded = Segmentation(labelmap=example().labelmap, geometry=example().geometry, segments=segments)
    found = read_labelmap(write_labelmap(coded, tmp_path / f"mask{suffix}"))
    assert [segment.code for segment in found.segments] == ["nodule", "SCT", "SCT:15825003"]


@pytest.mark.parametrize("values", [np.full((4, 4, 4), -5, np.int16), np.full((4, 4, 4), 0.5, np.float32)])
def test_what_is_no_labelmap_is_refused(tmp_path, values):
    path = write_volume(Volume(voxels=values, affine=np.eye(4)), tmp_path / "scan.nii.gz")
    with pytest.raises(UnsupportedVolumeError, match="whole labels"):
        read_labelmap(path)


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(UnreadableInputError, match="nothing at this path"):
        read_labelmap(tmp_path / "mask.nii.gz")
    with pytest.raises(ValueError, match=r"\.seg\.nrrd"):
        read_labelmap(tmp_path / "mask.png")
