"""DICOM headers: which files are images, and where each of their frames lies.

Only headers are read here. A frame is one plane: a classic single-frame file holds one, an enhanced multi-frame file
many. Positions are in LPS+ mm, as DICOM states them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import threading
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from colipri_core.geometry import Points

HEADER_TAGS = [
    "BitsStored",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "Modality",
    "NumberOfFrames",
    "PerFrameFunctionalGroupsSequence",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Rows",
    "Columns",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SharedFunctionalGroupsSequence",
    "SpecificCharacterSet",
    "StudyInstanceUID",
]


_SEGMENTATION = "SEG"
"""Modality of segmentations. Those in the slices of a CT have rows, columns and places as images do, and are none."""
_PYDICOM_LOCK = threading.RLock()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One DICOM image file.

    Args:
        file: Where it lies.
        header: pydicom data set with the elements of `HEADER_TAGS`.
    """

    file: Path
    header: Any

    def text(self, keyword: str) -> str:
        """An element as stripped text; empty if it is missing."""
        value = self.header.get(keyword)
        return "" if value is None else str(value).strip()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One plane of voxels.

    Args:
        instance: The file it is in.
        index: Its place in a multi-frame file, from 0; None in a single-frame file.
        position: Centre of its first voxel, LPS+ mm.
        orientation: Unit vectors along a row and along a column, LPS+ (6 numbers).
        pixel_spacing: Distance between rows and between columns, mm.
        slope: Rescale Slope, or None if it is not stated.
        intercept: Rescale Intercept, or None.
        rescale_type: Unit of the rescaled values as stated, such as "HU"; often empty.
    """

    instance: Instance
    index: int | None
    position: Points
    orientation: Points
    pixel_spacing: Points
    slope: float | None
    intercept: float | None
    rescale_type: str

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.instance.header.Rows), int(self.instance.header.Columns)


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order, without hidden ones and DICOM directories."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith(".") and name != "DICOMDIR")


def is_dicom(file: Path) -> bool:
    """Whether a file starts as DICOM does, with the standard preamble or, as old exports do, without."""
    with file.open("rb") as stream:
        start = stream.read(132)
    if start[128:] == b"DICM":
        return True
    return len(start) == 132 and start[:4] in (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")


def read_instances(files: Iterable[Path]) -> tuple[list[Instance], list[str]]:
    """Read the headers of all DICOM images among files.

    Args:
        files: Files of any kind; others than DICOM images are passed over, and so are segmentations.

    Returns:
        The images, and the names of DICOM files whose header is damaged.
    """
    instances, damaged = [], []
    for file in files:
        if not is_dicom(file):
            continue
        header = _header(file)
        if header is None:
            damaged.append(file.name)
        elif "Rows" in header and "Columns" in header:
            instance = Instance(file=file, header=header)
            instances += [instance] if instance.text("Modality") != _SEGMENTATION else []
    return instances, damaged


def holds_image(file: Path) -> bool:
    """Whether a file is a DICOM image, as far as can be told if it is damaged; segmentations and reports are none.

    Args:
        file: A file of any kind.

    Raises:
        OSError: If it cannot be read.
    """
    with quiet_pydicom():
        return any(read_instances([file]))


def frames_of(instance: Instance) -> list[Frame]:
    """The planes of an image file; empty if the file does not say where they lie."""
    header = instance.header
    if int(header.get("NumberOfFrames") or 1) == 1 and "PerFrameFunctionalGroupsSequence" not in header:
        frame = _frame(instance, None, header, header, header, header)
        return [frame] if frame else []
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = []
    for index, own in enumerate(header.get("PerFrameFunctionalGroupsSequence") or []):
        groups = [
            _functional_group(own, shared, name)
            for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures", "PixelValueTransformation")
        ]
        frame = _frame(instance, index, *groups)
        if frame:
            frames.append(frame)
    return frames


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from judging values: identifiers that break the Standard are common and do no harm here.

    pydicom keeps this choice in a global and converts values when they are first looked at, so a whole reading or
    writing runs inside, one at a time.
    """
    from pydicom import config

    with _PYDICOM_LOCK, config.disable_value_validation():
        yield


def _header(file: Path) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=HEADER_TAGS, force=True)
    except (InvalidDicomError, EOFError, OSError, struct.error, ValueError, TypeError, AttributeError, KeyError):
        return None


def _functional_group(own: Any, shared: Any, name: str) -> Any:
    for groups in (own, shared):
        sequence = groups.get(f"{name}Sequence") if groups is not None else None
        if sequence:
            return sequence[0]
    return {}


def _frame(
    instance: Instance, index: int | None, place: Any, direction: Any, measures: Any, transformation: Any
) -> Frame | None:
    position = _numbers(place.get("ImagePositionPatient"), 3)
    orientation = _numbers(direction.get("ImageOrientationPatient"), 6)
    pixel_spacing = _numbers(measures.get("PixelSpacing"), 2)
    if position is None or orientation is None or pixel_spacing is None:
        return None
    slope = _numbers(transformation.get("RescaleSlope"), 1)
    intercept = _numbers(transformation.get("RescaleIntercept"), 1)
    return Frame(
        instance=instance,
        index=index,
        position=position,
        orientation=orientation,
        pixel_spacing=pixel_spacing,
        slope=None if slope is None else float(slope[0]),
        intercept=None if intercept is None else float(intercept[0]),
        rescale_type=str(transformation.get("RescaleType") or "").strip(),
    )


def _numbers(value: Any, count: int) -> Points | None:
    """An element's numbers, or None if they are missing, of another count or not finite."""
    if value is None:
        return None
    try:
        numbers = np.array(value, dtype=np.float64).reshape(-1)
    except (ValueError, TypeError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
