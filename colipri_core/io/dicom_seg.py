"""DICOM SEG through highdicom: binary, coded segments that refer to the images they were made on."""

from __future__ import annotations

import datetime
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import ras_to_lps
from colipri_core.io.atomic import atomic_file
from colipri_core.io.checks import refusal
from colipri_core.io.checks import warn
from colipri_core.io.dicom_export import PRODUCT
from colipri_core.io.dicom_export import UTF8
from colipri_core.io.dicom_export import long_string
from colipri_core.io.dicom_export import product_version
from colipri_core.io.dicom_export import require_highdicom
from colipri_core.io.dicom_headers import quiet_pydicom
from colipri_core.io.dicom_sources import invalid_identifiers
from colipri_core.io.dicom_sources import restore_identifiers
from colipri_core.io.dicom_sources import source_headers
from colipri_core.segmentation import Origin
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

_INTERACTIVE = ("clicks", "nninteractive")
"""Bundle kind of the models that answer a user's prompts: what they outline is semi-automatic."""
_SERIES_NUMBER = 901  # our choice: far from the numbers scanners use
_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_TISSUE = ("85756007", "SCT", "Tissue")
_ARTIFICIAL_INTELLIGENCE = ("123109", "DCM", "Artificial Intelligence")
_RESEARCH = "Research use only, not for diagnosis"
_DERIVED = f"{_RESEARCH}; source UIDs derived"  # a description holds 64 characters


def check_dicom_seg(name: str, source: Volume | None) -> None:
    """Refuse a source no DICOM SEG can be written on, before there is a segmentation.

    Args:
        name: Name of the file to be written.
        source: The volume to be segmented.

    Raises:
        UnsupportedVolumeError: If the source does not come from DICOM files, they are gone, or do not name themselves.
        MissingDependencyError: If highdicom is not installed.
    """
    require_highdicom("DICOM SEG")
    with quiet_pydicom():
        _source_images(name, source)


def write_dicom_seg(segmentation: Segmentation, path: Path, *, source: Volume | None) -> None:
    """Write a segmentation as DICOM SEG, in the study of its source images.

    Where these lack a valid study, series or frame of reference, it is derived from them; the content description then
    says so, and a `VolumeWarning` names what was derived.

    Args:
        segmentation: Labelmap and segments on the source's grid; empty segments are left out.
        path: File to be written.
        source: The volume it was made on, read from a DICOM folder whose files are still there.

    Raises:
        UnsupportedVolumeError: If the source does not come from DICOM files, they are gone or do not name themselves,
            the grids differ, or no voxel is labelled.
        MissingDependencyError: If highdicom is not installed.
    """
    highdicom = require_highdicom("DICOM SEG")
    with quiet_pydicom():
        datasets, frames, derived = _source_images(path.name, source)
        _check_grid(path.name, segmentation, source)
        for dataset in datasets:
            _add_thickness(dataset, segmentation.geometry.spacing[2])
        present = _present(path.name, segmentation)
        planes = _planes(segmentation, present, frames)
        written = highdicom.seg.Segmentation(
            source_images=datasets,
            pixel_array=planes,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=_descriptions(segmentation, present),
            series_instance_uid=highdicom.UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=_model_name(segmentation) or PRODUCT,
            software_versions=product_version(),
            device_serial_number="0",
            content_description=_DERIVED if derived else _RESEARCH,
            series_description=f"Segmentation, {PRODUCT} (research)",
            content_label="SEGMENTATION",
            specific_character_set=UTF8,
        )
        written.ContentDate = datetime.datetime.now().strftime("%Y%m%d")
        with atomic_file(path, ".dcm") as temporary:
            written.save_as(temporary)
    if derived:
        remark = "they were derived from the images, and an archive will not file it with them"
        warn([f'"{path.name}": the source images have no valid {", ".join(derived)}; {remark}.'])


def read_dicom_seg(path: Path) -> Segmentation:
    """Read a DICOM SEG.

    Args:
        path: The file.

    Raises:
        UnreadableInputError: If it is no DICOM SEG or damaged.
        UnsupportedVolumeError: If its segments overlap or its planes form no volume.
        MissingDependencyError: If highdicom is not installed.
    """
    highdicom = require_highdicom("DICOM SEG")
    with quiet_pydicom():
        try:
            stored = highdicom.seg.segread(path)
            descriptions = [stored.get_segment_description(number) for number in stored.segment_numbers]
            segments = tuple(_segment(highdicom, description) for description in descriptions)
            labelmap, geometry = _stored_labels(path.name, stored)
        except UnsupportedVolumeError:
            raise
        except _damage() as error:
            remedy = "Give a DICOM Segmentation object, and check that it is whole."
            found = "a damaged file or another object"
            message = refusal(path.name, expected="a DICOM SEG", found=found, remedy=remedy)
            raise UnreadableInputError(message) from error
    kind = np.uint8 if max((segment.label for segment in segments), default=0) < 256 else np.uint16
    return Segmentation(labelmap=labelmap.astype(kind), geometry=geometry, segments=segments)


def _damage() -> tuple[type[Exception], ...]:
    """What pydicom and highdicom raise where a damaged or foreign file is not what they expect."""
    from pydicom.errors import BytesLengthException
    from pydicom.errors import InvalidDicomError

    of_pydicom = (BytesLengthException, InvalidDicomError, struct.error, zlib.error)
    of_values = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
    return (*of_pydicom, *of_values, EOFError, OSError, RuntimeError)


def _stored_labels(name: str, stored: Any) -> tuple[npt.NDArray[Any], VolumeGeometry]:
    """Labels `[i, j, k]` and grid of a DICOM SEG."""
    try:
        volume = stored.get_volume(combine_segments=True)
    except NotImplementedError:
        raise
    except (RuntimeError, ValueError) as error:
        remedy = "Export each segment as a labelmap of its own."
        found = "overlapping segments or irregular planes"
        message = refusal(name, expected="segments on one regular grid", found=found, remedy=remedy)
        raise UnsupportedVolumeError(message) from error
    labelmap = np.asarray(volume.array).transpose(2, 1, 0)
    affine = ras_to_lps(np.asarray(volume.affine))[:, [2, 1, 0, 3]]
    return labelmap, VolumeGeometry(shape=labelmap.shape, affine=affine)


def _source_images(name: str, source: Volume | None) -> tuple[list[Any], tuple[int | None, ...], tuple[str, ...]]:
    """The source data sets in the order of k (one alone if multi-frame), the frame of each k, what was derived."""
    identifiers = source.metadata.get("dicom") if source else None
    if not identifiers or not identifiers["files"]:
        raise _refused(name, "a volume that was not read from DICOM files on this machine", "Read the DICOM folder")
    try:
        datasets = list(source_headers(identifiers["files"]).values())
    except OSError as error:
        raise _refused(name, "DICOM files that are no longer where they were", "Read the DICOM folder again") from error
    derived = restore_identifiers(datasets)
    for keyword in invalid_identifiers(datasets):
        raise _refused(name, f"source images without a valid {keyword}", "Use images as the archive wrote them")
    if len({dataset.SOPInstanceUID for dataset in datasets}) < len(datasets):
        raise _refused(name, "source images that share a SOPInstanceUID", "Use images as the archive wrote them")
    numbers: tuple[int | None, ...] = identifiers["frame_numbers"]
    if len(datasets) > 1 and numbers[0] is not None:
        raise _refused(name, "a volume spread over several multi-frame files", "Use a single-frame export")
    return datasets, numbers, derived


def _check_grid(name: str, segmentation: Segmentation, source: Volume | None) -> None:
    if source is None or source.geometry != segmentation.geometry:
        shape = None if source is None else source.shape
        found = f"a segmentation of shape {segmentation.geometry.shape} on a volume of shape {shape}"
        raise _refused(name, f"{found}, or of another place", "Map the segmentation to the volume's grid")


def _add_thickness(dataset: Any, thickness: float) -> None:
    if dataset.get("SliceThickness") is None and "PerFrameFunctionalGroupsSequence" not in dataset:
        dataset.SliceThickness = float(f"{thickness:.6g}")


def _present(name: str, segmentation: Segmentation) -> list[Segment]:
    counts = np.bincount(segmentation.labelmap.ravel(order="K"))
    present = [segment for segment in segmentation.segments if segment.label < len(counts) and counts[segment.label]]
    if not present:
        raise _refused(name, "a segmentation without a labelled voxel", "Segment something first")
    return present


def _planes(
    segmentation: Segmentation, present: list[Segment], frames: tuple[int | None, ...]
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Planes `[k, j, i]` in the order of the source's frames, with segment numbers from 1 in place of labels."""
    lookup = np.zeros(int(segmentation.labelmap.max()) + 1, dtype=np.uint16)
    for number, segment in enumerate(present, start=1):
        lookup[segment.label] = number
    planes: npt.NDArray[np.uint16] = lookup[segmentation.labelmap.transpose(2, 1, 0)]
    if frames[0] is None:
        return planes
    return np.take(planes, np.argsort(np.array(frames, dtype=int)), axis=0)


def _descriptions(segmentation: Segmentation, present: list[Segment]) -> list[Any]:
    import highdicom

    codes = highdicom.sr.CodedConcept
    descriptions = []
    for number, segment in enumerate(present, start=1):
        name = long_string(segment.name) or f"Label {segment.label}"
        scheme, _, value = long_string(segment.code).partition(":")
        coded = (value, scheme, name) if value else _TISSUE
        kind, algorithm = _drawn_by(segmentation.origin_of(segment.label))
        description = highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes(*(_ANATOMY if value else _TISSUE)),
            segmented_property_type=codes(*coded),
            algorithm_type=kind,
            algorithm_identification=algorithm,
            display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
        )
        descriptions.append(description)
    return descriptions


def _model_name(segmentation: Segmentation) -> str:
    return long_string(segmentation.provenance.model.name) if segmentation.provenance else ""


def _drawn_by(origin: Origin) -> tuple[Any, Any]:
    """Algorithm type of a segment, and what identifies its model; a model that a person helped is semi-automatic."""
    import highdicom

    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    if origin.model is None:
        return kinds.MANUAL, None
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=long_string(origin.model.name),
        family=highdicom.sr.CodedConcept(*_ARTIFICIAL_INTELLIGENCE),
        version=product_version(),
    )
    is_helped = origin.by_hand or origin.model.kind in _INTERACTIVE
    return kinds.SEMIAUTOMATIC if is_helped else kinds.AUTOMATIC, algorithm


def _segment(highdicom: Any, description: Any) -> Segment:
    kind = description.segmented_property_type
    coded = kind.value != _TISSUE[0]
    color = (255, 255, 255)
    if "RecommendedDisplayCIELabValue" in description:
        values = list(description.RecommendedDisplayCIELabValue)
        red, green, blue = highdicom.color.CIELabColor.from_dicom_value(values).to_rgb()
        color = (int(red), int(green), int(blue))
    return Segment(
        label=int(description.segment_number),
        name=str(description.segment_label),
        code=f"{kind.scheme_designator}:{kind.value}" if coded else "",
        color=color,
    )


def _refused(name: str, found: str, remedy: str) -> UnsupportedVolumeError:
    expected = "a segmentation on a volume read from a complete DICOM series"
    text = (
        f'Cannot write "{name}": expected {expected}, found {found}. {remedy}, or write .seg.nrrd or .nii.gz instead.'
    )
    return UnsupportedVolumeError(text)
