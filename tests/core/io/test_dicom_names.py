"""DICOM SEG: names of any script and length, whatever character set the source has; what is damaged is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writer import SeriesOptions
from dicom_writer import write_series

from colipri_core.errors import InputError
from colipri_core.errors import UnreadableInputError
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

pytest.importorskip("highdicom")
pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (9, 8, 6)
AFFINE = np.array([[-0.7, 0, 0, 150], [0, -0.7, 0, 160], [0, 0, 2.0, -300], [0, 0, 0, 1]])


def read_series(folder: Path, *, edit: Callable[[int, pydicom.Dataset], None] | None = None) -> Volume:
    hu = np.random.default_rng(0).integers(-1024, 1500, SHAPE)
    write_series(folder, hu, AFFINE, SeriesOptions(edit=edit))
    return read_volume(folder)


def segmented(volume: Volume, *segments: Segment) -> Segmentation:
    """Some voxels for each of the segments."""
    labels = [0, *(segment.label for segment in segments)]
    labelmap = np.random.default_rng(1).choice(labels, volume.shape).astype(np.uint8)
    return Segmentation(labelmap=labelmap, geometry=volume.geometry, segments=segments)


def labels_by_dcmqi(path: Path, folder: Path) -> list[str]:
    """Names that QIICR's reader, which 3D Slicer uses as well (https://github.com/QIICR/dcmqi), finds."""
    pytest.importorskip("dcmqi", reason="dcmqi is not installed: pip install dcmqi")
    folder.mkdir()
    program = Path(sys.executable).with_name("segimage2itkimage")
    command = [program, "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120)
    described = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["segmentAttributes"]
    return [item["SegmentLabel"] for group in described for item in group]


CHARACTER_SETS = {
    "Latin-1": ("ISO_IR 100", "M\u00fcller^J\u00fcrgen", "Th\u00f4rax"),
    "Greek": ("ISO_IR 126", "\u03a0\u03b1\u03c0\u03ac\u03c2^\u0391", "\u0398\u03ce\u03c1\u03b1\u03ba\u03b1\u03c2"),
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", "CT \u80f8\u90e8"),
    "Chinese": ("GB18030", "Zhang^San=\u5f20^\u4e09", "\u80f8\u90e8CT"),
    "not stated": (None, "Secret^Person", "Chest"),
}


@pytest.mark.parametrize(("character_set", "patient", "study"), CHARACTER_SETS.values(), ids=list(CHARACTER_SETS))
def test_names_of_any_script_beside_a_source_of_another(character_set, patient, study, tmp_path):
    def name(_k, dataset):
        if character_set is not None:
            dataset.SpecificCharacterSet = character_set
        dataset.PatientName, dataset.StudyDescription = patient, study

    volume = read_series(tmp_path / "scan", edit=name)
    segments = (
        Segment(label=2, name="\u0423\u0437\u0435\u043b \u7ed3\u8282", code="99LAB:1"),
        Segment(label=5, name="B\u00e4r"),
    )
    path = write_labelmap(segmented(volume, *segments), tmp_path / "mask.dcm", source=volume)
    assert [(segment.name, segment.code) for segment in read_labelmap(path).segments] == [
        (segments[0].name, "99LAB:1"),
        (segments[1].name, ""),
    ]
    stored = pydicom.dcmread(path)
    assert stored.SpecificCharacterSet == "ISO_IR 192"
    assert (str(stored.PatientName), stored.StudyDescription) == (patient, study)
    coded = stored.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    assert coded.CodeMeaning == segments[0].name
    assert labels_by_dcmqi(path, tmp_path / "out") == [segment.name for segment in segments]


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("apex\\base", "99LAB:a\\b", ("apex/base", "99LAB:a/b")),
        ("x" * 65, "SCT:1", ("x" * 64, "SCT:1")),
        ("\u80f8" * 100, "SCT:1", ("\u80f8" * 64, "SCT:1")),
        ("one\ntwo\t", "99LAB:12345678901234567890", ("one two", "99LAB:12345678901234567890")),
        (" ", "", ("Label 2", "")),
    ],
)
def test_names_and_codes_are_one_value_that_dicom_can_hold(name, code, expected, tmp_path):
    volume = read_series(tmp_path / "scan")
    path = write_labelmap(
        segmented(volume, Segment(label=2, name=name, code=code)), tmp_path / "mask.dcm", source=volume
    )
    (found,) = read_labelmap(path).segments
    assert (found.name, found.code) == expected
    described = pydicom.dcmread(path).SegmentSequence[0]
    for item in (described["SegmentLabel"], described.SegmentedPropertyTypeCodeSequence[0]["CodeMeaning"]):
        assert item.VM == 1
        assert len(item.value) <= 64


def test_a_segmentation_in_the_folder_of_its_source_is_no_series(tmp_path):
    volume = read_series(tmp_path / "scan")
    path = write_labelmap(
        segmented(volume, Segment(label=2, name="Nodule")), tmp_path / "scan" / "mask.dcm", source=volume
    )
    again = read_volume(tmp_path / "scan")
    assert again.sha256 == volume.sha256
    assert str(path) not in again.metadata["dicom"]["files"]
    with pytest.raises(UnreadableInputError, match="such as a segmentation"):
        read_volume(path)


def test_a_damaged_segmentation_is_refused_as_such(tmp_path):
    volume = read_series(tmp_path / "scan")
    segments = (Segment(label=1, name="Nodule", code="SCT:27925004"), Segment(label=2, name="Rib"))
    path = write_labelmap(segmented(volume, *segments), tmp_path / "mask.dcm", source=volume)
    whole, refused = path.read_bytes(), set()
    numbers = np.random.default_rng(0)
    for number in range(150):
        damaged = bytearray(whole)
        if number % 2:
            del damaged[numbers.integers(len(damaged)) :]
        else:
            for place in numbers.integers(min(6000, len(damaged)), size=4):
                damaged[place] = numbers.integers(256)
        path.write_bytes(damaged)
        try:
            read_labelmap(path)
        except InputError as error:
            refused.add(str(error))
    assert refused
    assert all("mask.dcm" in text for text in refused)


@pytest.mark.parametrize("keyword", ["Columns", "SegmentSequence", "SharedFunctionalGroupsSequence", "PixelData"])
def test_a_segmentation_without_what_it_needs_is_refused(keyword, tmp_path):
    volume = read_series(tmp_path / "scan")
    path = write_labelmap(segmented(volume, Segment(label=2, name="Nodule")), tmp_path / "mask.dcm", source=volume)
    stored = pydicom.dcmread(path)
    del stored[keyword]
    stored.save_as(path)
    with pytest.raises(UnreadableInputError, match="damaged file"):
        read_labelmap(path)
