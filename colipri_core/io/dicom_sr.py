"""DICOM SR through highdicom: a draft as a Comprehensive 3D SR, partial, preliminary and unverified.

The tree follows TID 2000 (Basic Diagnostic Imaging Report): sections hold the sentences as text. A sentence carries its
finding as present or absent, the second opinion and the flags; unless it denies its finding it is inferred from a point
in the patient (SCOORD3D, LPS mm) and the image that point lies on. A volume without DICOM images, or with images whose
identifiers were stripped, gets a study and a frame of reference of its own, and the document says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import ras_to_lps
from colipri_core.io.atomic import atomic_file
from colipri_core.io.dicom_export import PRODUCT
from colipri_core.io.dicom_export import UTF8
from colipri_core.io.dicom_export import complete
from colipri_core.io.dicom_export import long_string
from colipri_core.io.dicom_export import product_version
from colipri_core.io.dicom_export import require_highdicom
from colipri_core.io.dicom_headers import quiet_pydicom
from colipri_core.io.dicom_sources import IDENTIFIERS
from colipri_core.io.dicom_sources import invalid_identifiers
from colipri_core.io.dicom_sources import restore_identifiers
from colipri_core.io.dicom_sources import source_headers
from colipri_core.language.assertions import Assertion
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import flag_lines
from colipri_core.report_words import notices
from colipri_core.report_words import support_lines
from colipri_core.report_words import title
from colipri_core.report_words import unmentioned_line
from colipri_core.vocabulary.findings import find_concept
from colipri_core.volume import Volume

_SERIES_NUMBER = 902  # our choice: far from the numbers scanners use
_REPORT = ("18747-6", "LN", "CT Report")
_COMMENT = ("121106", "DCM", "Comment")
_FINDING = ("121071", "DCM", "Finding")
_IMPRESSION = ("121073", "DCM", "Impression")
_SECTIONS = {"Findings": ("121070", "DCM", "Findings"), "Impression": ("121072", "DCM", "Impressions")}
_CERTAINTY = ("111012", "DCM", "Certainty of Finding")
_ASSERTIONS = {
    Assertion.PRESENT: ("52101004", "SCT", "Present"),
    Assertion.UNCERTAIN: ("42425007", "SCT", "Equivocal"),
    Assertion.ABSENT: ("2667000", "SCT", "Absent"),
}
_PERCENT = ("%", "UCUM", "%")
_PLACE = ("121110", "DCM", "Location of finding")
_SOURCE_IMAGE = ("121112", "DCM", "Source of Measurement")
_DEVICE = ("121007", "DCM", "Device")
_ENGLISH = ("en", "RFC5646", "English")
_PRIVATE = "99COLIPRI"
_UNNAMED = "Refers to no images: the volume was not read from DICOM images with valid identifiers."


def check_dicom_sr(name: str, source: Volume | None) -> None:
    """Refuse a source no DICOM SR can be written on, before there is a report.

    Args:
        name: Name of the file to be written.
        source: The volume to be reported on.

    Raises:
        UnsupportedVolumeError: If the source's DICOM files are gone.
        MissingDependencyError: If highdicom is not installed.
    """
    require_highdicom("DICOM SR")
    with quiet_pydicom():
        _Images(name, source)


def write_dicom_sr(report: Report, path: Path, *, source: Volume | None) -> None:
    """Write a draft as DICOM SR, in the study of its images where they are DICOM.

    Args:
        report: The report.
        path: File to be written.
        source: The volume it was drafted on.

    Raises:
        UnsupportedVolumeError: If the source's DICOM files are gone.
        MissingDependencyError: If highdicom is not installed.
    """
    highdicom = require_highdicom("DICOM SR")
    with quiet_pydicom():
        images = _Images(path.name, source)
        document = highdicom.sr.Comprehensive3DSR(
            evidence=images.evidence,
            content=_root(report, images),
            series_instance_uid=highdicom.UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=long_string(report.provenance.model.name),
            software_versions=product_version(),
            device_serial_number="0",
            series_description=f"{report.status} report, {PRODUCT} (research)",
            is_complete=False,
            is_final=False,
            is_verified=False,
            specific_character_set=UTF8,
        )
        if not images.are_named:
            del document.CurrentRequestedProcedureEvidenceSequence
        with atomic_file(path, ".dcm") as temporary:
            document.save_as(temporary)


class _Images:
    """The DICOM images a report refers to; a bare study where there are none, or none with valid identifiers."""

    def __init__(self, name: str, source: Volume | None) -> None:
        identifiers = source.metadata.get("dicom") if source is not None else None
        files = tuple(identifiers["files"]) if identifiers else ()
        self._source = source
        headers = _headers(name, files)
        self.are_named = bool(headers) and not invalid_identifiers(headers.values())
        self._frames: tuple[int | None, ...] = tuple(identifiers["frame_numbers"]) if identifiers else ()
        self._by_plane = [headers[file] for file in files] if self.are_named else []
        self.evidence = list(headers.values()) if self.are_named else [_bare_study(list(headers.values()))]
        self.frame_of_reference = str(self.evidence[0].FrameOfReferenceUID)

    def at(self, place: tuple[float, float, float]) -> tuple[str, str, int | None] | None:
        """SOP class, SOP instance and frame number of the image a place lies on, None without images."""
        if not self._by_plane or self._source is None:
            return None
        plane = round(float(self._source.geometry.world_to_index(place)[2]))
        k = min(max(plane, 0), len(self._by_plane) - 1)
        return str(self._by_plane[k].SOPClassUID), str(self._by_plane[k].SOPInstanceUID), self._frames[k]


def _headers(name: str, files: Sequence[str]) -> dict[str, Any]:
    try:
        return source_headers(files)
    except OSError as error:
        msg = (
            f'Cannot write "{name}": expected the DICOM images the report was drafted on, found that they are no '
            "longer where they were. Read the DICOM folder again, or write .html or .md instead."
        )
        raise UnsupportedVolumeError(msg) from error


def _bare_study(stripped: Sequence[Any]) -> Any:
    """Identifiers of a study without a patient: that of a DICOM SEG on the stripped images, or a new one."""
    import pydicom
    from pydicom.uid import CTImageStorage
    from pydicom.uid import generate_uid

    dataset = pydicom.Dataset()
    for keyword in IDENTIFIERS:
        setattr(dataset, keyword, generate_uid())
    dataset.SOPClassUID = CTImageStorage
    restore_identifiers(stripped)
    if stripped and not invalid_identifiers(stripped):
        dataset.StudyInstanceUID = stripped[0].StudyInstanceUID
        dataset.FrameOfReferenceUID = stripped[0].FrameOfReferenceUID
    complete(dataset)
    return dataset


def _root(report: Report, images: _Images) -> Any:
    from highdicom import sr

    root = sr.ContainerContentItem(_coded(_REPORT), template_id="2000")
    content = sr.ContentSequence()
    content.extend(sr.LanguageOfContentItemAndDescendants(_coded(_ENGLISH)))
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=str(_uid(report.provenance.model.sha256)),
        name=PRODUCT,
        manufacturer_name=PRODUCT,
        model_name=report.provenance.model.name,
    )
    observer = sr.ObserverContext(observer_type=_coded(_DEVICE), observer_identifying_attributes=device)
    content.extend(sr.ObservationContext(observer_device_context=observer))
    remarks = () if images.are_named else (_UNNAMED,)
    content.extend(_text(_COMMENT, line, "CONTAINS") for line in (title(report), *notices(report), *remarks))
    for section in report.sections:
        container = sr.ContainerContentItem(_coded(_SECTIONS[section.name]), relationship_type="CONTAINS")
        container.ContentSequence = sr.ContentSequence(
            [_sentence(sentence, section.name, images) for sentence in section.sentences]
        )
        if section.sentences:
            content.append(container)
    content.extend(
        _text(_COMMENT, f"Not mentioned: {unmentioned_line(finding)}", "CONTAINS") for finding in report.unmentioned
    )
    root.ContentSequence = content
    return root


def _sentence(sentence: ReportSentence, section: str, images: _Images) -> Any:
    from highdicom import sr

    item = _text(_IMPRESSION if section == "Impression" else _FINDING, sentence.text, "CONTAINS")
    children: list[Any] = []
    if sentence.finding is not None and sentence.support.assertion is not None:
        name, value = _finding_code(sentence.finding), _coded(_ASSERTIONS[sentence.support.assertion])
        children.append(sr.CodeContentItem(name, value, relationship_type="HAS PROPERTIES"))
    probability = sentence.support.probability
    if probability is not None:
        value = round(100 * probability, 2)
        certainty = sr.NumContentItem(_coded(_CERTAINTY), value, _coded(_PERCENT), relationship_type="HAS PROPERTIES")
        children.append(certainty)
    lines = (*flag_lines(sentence), *support_lines(sentence))
    children += [_text(_COMMENT, line, "HAS PROPERTIES") for line in lines]
    children += _place(sentence, images)
    item.ContentSequence = sr.ContentSequence(children)
    return item


def _place(sentence: ReportSentence, images: _Images) -> list[Any]:
    from highdicom import sr

    if sentence.place_ras is None or sentence.support.assertion is Assertion.ABSENT:
        return []
    point = sr.Scoord3DContentItem(
        _coded(_PLACE),
        graphic_type="POINT",
        graphic_data=ras_to_lps(np.array([sentence.place_ras])),
        frame_of_reference_uid=images.frame_of_reference,
        relationship_type="INFERRED FROM",
    )
    image = images.at(sentence.place_ras)
    if image is None:
        return [point]
    sop_class, instance, frame = image
    reference = sr.ImageContentItem(
        _coded(_SOURCE_IMAGE), sop_class, instance, referenced_frame_numbers=frame, relationship_type="INFERRED FROM"
    )
    return [point, reference]


def _text(name: tuple[str, str, str], value: str, relationship: str) -> Any:
    from highdicom import sr

    return sr.TextContentItem(_coded(name), value, relationship_type=relationship)


def _coded(concept: tuple[str, str, str]) -> Any:
    from highdicom import sr

    return sr.CodedConcept(*concept)


def _finding_code(name: str) -> Any:
    concept = find_concept(name)
    scheme, _, value = (concept.code if concept is not None else f"{_PRIVATE}:finding").partition(":")
    return _coded((value, scheme, long_string(name)))


def _uid(sha256: str) -> str:
    """A UID that names one set of weights, derived from its hash as UUIDs are (ITU-T X.667)."""
    return f"2.25.{int(sha256[:32], 16)}"
