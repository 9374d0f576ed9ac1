"""Labelmaps to and from files, with the names, codes and colours of their segments.

NIfTI and MetaImage hold numbers alone: a JSON file of the same name holds the rest. 3D Slicer's `.seg.nrrd` and DICOM
SEG hold everything in one file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import VolumeGeometry
from colipri_core.io.checks import refusal
from colipri_core.io.dicom_seg import check_dicom_seg
from colipri_core.io.dicom_seg import read_dicom_seg
from colipri_core.io.dicom_seg import write_dicom_seg
from colipri_core.io.itk import load
from colipri_core.io.nifti import read_nifti
from colipri_core.io.seg_nrrd import fields_of
from colipri_core.io.seg_nrrd import segments_in
from colipri_core.io.suffixes import DICOM_SUFFIX
from colipri_core.io.suffixes import ITK_SUFFIXES
from colipri_core.io.suffixes import LABELMAP_SUFFIXES
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.io.suffixes import NRRD_SUFFIXES
from colipri_core.io.suffixes import SEG_NRRD_SUFFIX
from colipri_core.io.suffixes import matching_suffix
from colipri_core.io.write import check_sidecar
from colipri_core.io.write import sidecar
from colipri_core.io.write import write_array
from colipri_core.io.write import write_sidecar
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

_IN_ONE_FILE = (SEG_NRRD_SUFFIX, *NRRD_SUFFIXES)
_MAX_LABEL = 65_535
_DAMAGE = (AttributeError, OSError, OverflowError, RecursionError, TypeError, ValueError)
"""What descriptions of segments lead to that hold values of a wrong type, count or size."""
_COLORS = ((128, 174, 128), (241, 214, 145), (177, 122, 101), (111, 184, 210), (216, 101, 79), (221, 130, 101))


def check_labelmap_output(path: str | os.PathLike[str], *, source: Volume | None) -> None:
    """Refuse what `write_labelmap` would refuse, as far as it is known before there is a segmentation.

    Args:
        path: File to be written.
        source: The volume to be segmented.

    Raises:
        ValueError: If the suffix is unknown.
        UnsupportedVolumeError: If a DICOM SEG is asked for and the source was not read from DICOM files.
        MissingDependencyError: If a DICOM SEG is asked for and highdicom is not installed.
        OutputError: If a JSON file of this name holds something else.
    """
    target = Path(path)
    suffix = matching_suffix(target, LABELMAP_SUFFIXES)
    if suffix == DICOM_SUFFIX:
        check_dicom_seg(target.name, source)
    elif suffix not in _IN_ONE_FILE:
        check_sidecar(target)


def write_labelmap(segmentation: Segmentation, path: str | os.PathLike[str], *, source: Volume | None = None) -> Path:
    """Write a segmentation on its own grid.

    Args:
        segmentation: Labelmap and segments.
        path: File ending in .nii.gz, .nii or .mha (with a JSON file beside it), .seg.nrrd or .nrrd (3D Slicer), or
            .dcm (DICOM SEG).
        source: The volume it was made on; needed for DICOM SEG, which refers to the source images.

    Returns:
        The path written.

    Raises:
        ValueError: If the suffix is unknown or the folder does not exist.
        UnsupportedVolumeError: If a DICOM SEG is asked for and the source was not read from DICOM files.
        MissingDependencyError: If a DICOM SEG is asked for and highdicom is not installed.
        OutputError: If a JSON file of this name holds something else, or the disk is full.
    """
    target = Path(path)
    suffix = matching_suffix(target, LABELMAP_SUFFIXES)
    if suffix == DICOM_SUFFIX:
        write_dicom_seg(segmentation, target, source=source)
        return target
    if suffix in _IN_ONE_FILE:
        write_array(target, suffix, segmentation.labelmap, segmentation.geometry, fields=fields_of(segmentation))
        return target
    check_sidecar(target)
    write_array(target, suffix, segmentation.labelmap, segmentation.geometry)
    write_sidecar(target, segmentation.to_json())
    return target


def read_labelmap(path: str | os.PathLike[str]) -> Segmentation:
    """Read a segmentation.

    Args:
        path: What `write_labelmap` writes; a labelmap without a description of its segments is read too, its segments
            are then named after their labels.

    Raises:
        UnreadableInputError: If the file is missing or damaged.
        UnsupportedVolumeError: If it holds no labelmap: fractions, negative numbers, overlapping layers.
        ValueError: If the suffix is unknown.
    """
    source = Path(path)
    suffix = matching_suffix(source, (*LABELMAP_SUFFIXES, *ITK_SUFFIXES))
    if not source.is_file():
        remedy = "Check the spelling, and that the drive is connected."
        message = refusal(source.name, expected="a labelmap file", found="nothing at this path", remedy=remedy)
        raise UnreadableInputError(message)
    if suffix == DICOM_SUFFIX:
        return read_dicom_seg(source)
    if suffix in NIFTI_SUFFIXES:
        volume = read_nifti(source, name=source.name)
        values, affine, described = volume.voxels, volume.affine, _described_beside(source)
    else:
        values, affine, fields = load(source)
        described = _described_in(source, fields) or _described_beside(source)
    labelmap = _labels(source.name, values)
    geometry = VolumeGeometry(shape=labelmap.shape, affine=affine)
    return Segmentation(labelmap=labelmap, geometry=geometry, segments=_complete(described, labelmap))


def _described_in(path: Path, fields: dict[str, str]) -> tuple[Segment, ...]:
    """Segments in the header of a file; empty if it describes none."""
    try:
        return _usable(segments_in(fields))
    except _DAMAGE as error:
        message = refusal(
            path.name,
            expected="segments with a label and a colour of three numbers each, as 3D Slicer writes them",
            found=f"others ({error})",
            remedy="Save the segmentation again.",
        )
        raise UnreadableInputError(message) from error


def _described_beside(path: Path) -> tuple[Segment, ...]:
    """Segments in the JSON file beside a labelmap; empty if there is none, or it is of another kind, as in BIDS."""
    beside = sidecar(path)
    if not beside.is_file():
        return ()
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "segments" not in document:
            return ()
        return _usable(tuple(_segment(entry) for entry in document["segments"]))
    except _DAMAGE as error:
        message = refusal(
            beside.name,
            expected='a "segments" list with label, name, code and color of each',
            found=f"another content ({error})",
            remedy="Correct it, or move it away to read the labelmap without names.",
        )
        raise UnreadableInputError(message) from error


def _segment(entry: Any) -> Segment:
    if not isinstance(entry, dict) or "label" not in entry or not isinstance(entry.get("name"), str):
        msg = f"no label and name in {entry!r}"
        raise TypeError(msg)
    red, green, blue = (int(value) for value in entry.get("color", (255, 255, 255)))
    return Segment(
        label=int(entry["label"]), name=entry["name"], code=str(entry.get("code") or ""), color=(red, green, blue)
    )


def _usable(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    labels = [segment.label for segment in segments]
    if len(set(labels)) < len(labels) or not all(1 <= label <= _MAX_LABEL for label in labels):
        msg = f"labels {labels}"
        raise ValueError(msg)
    for segment in segments:
        if not all(0 <= value <= 255 for value in segment.color):
            msg = f"color {segment.color} of label {segment.label}"
            raise ValueError(msg)
    return segments


def _labels(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.unsignedinteger[Any]]:
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind in "iu" or bool((values == np.floor(values)).all())
    if low < 0 or high > _MAX_LABEL or not whole:
        found = f"values from {low:g} to {high:g}{'' if whole else ' with fractions'}"
        remedy = "Give the labelmap, not the CT or a probability map."
        message = refusal(name, expected=f"whole labels from 0 to {_MAX_LABEL}", found=found, remedy=remedy)
        raise UnsupportedVolumeError(message)
    return values.astype(np.uint8 if high < 256 else np.uint16)


def _complete(described: tuple[Segment, ...], labelmap: npt.NDArray[np.unsignedinteger[Any]]) -> tuple[Segment, ...]:
    known = {segment.label for segment in described}
    present = np.flatnonzero(np.bincount(labelmap.ravel(order="K")))
    added = tuple(
        Segment(label=label, name=f"Label {label}", color=_COLORS[label % len(_COLORS)])
        for label in map(int, present)
        if label and label not in known
    )
    return described + added
