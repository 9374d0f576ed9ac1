"""The DICOM images an exported object refers to: their headers, complete and with identifiers.

Anonymisation often empties identifiers, or puts text in their place that is no UID. The file's own meta information
then still names the image and its class. Study, series and frame of reference are derived from the images' own
identifiers, so that every export of one series names the same ones; what is valid stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from colipri_core.io.dicom_export import complete

_IN_THE_META = {"SOPInstanceUID": "MediaStorageSOPInstanceUID", "SOPClassUID": "MediaStorageSOPClassUID"}
_DERIVED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
IDENTIFIERS = (*_IN_THE_META, *_DERIVED)
"""What an object that refers to images needs of each of them."""


def source_headers(files: Iterable[str]) -> dict[str, Any]:
    """Read the headers of source images, complete but for identifiers.

    Args:
        files: Paths; each is read once.

    Returns:
        File -> pydicom data set without pixels.

    Raises:
        OSError: If a file is gone.
    """
    import pydicom

    headers = {file: pydicom.dcmread(file, stop_before_pixels=True) for file in dict.fromkeys(files)}
    for header in headers.values():
        complete(header)
    return headers


def invalid_identifiers(headers: Iterable[Any]) -> tuple[str, ...]:
    """Which identifiers are missing or no UID in at least one header."""
    found = list(headers)
    return tuple(keyword for keyword in IDENTIFIERS if not all(_is_valid(header.get(keyword)) for header in found))


def restore_identifiers(headers: Sequence[Any]) -> tuple[str, ...]:
    """Give the images of one series the identifiers they lack, in place.

    Image and class come from the file's meta information; where that has none either, nothing more can be restored.
    Study, series and frame of reference are those of the other images of the series, or else derived.

    Args:
        headers: The headers of one series.

    Returns:
        Keywords of the identifiers that were derived.
    """
    for header in headers:
        for keyword, stored in _IN_THE_META.items():
            named = header.file_meta.get(stored)
            if not _is_valid(header.get(keyword)) and _is_valid(named):
                setattr(header, keyword, named)
    if "SOPInstanceUID" in invalid_identifiers(headers):
        return ()
    return tuple(keyword for keyword in _DERIVED if _restore(keyword, headers))


def _restore(keyword: str, headers: Sequence[Any]) -> bool:
    """Fill in one identifier of a series; returns whether it had to be derived."""
    from pydicom.uid import generate_uid

    lacking = [header for header in headers if not _is_valid(header.get(keyword))]
    known = {str(header.get(keyword)) for header in headers if _is_valid(header.get(keyword))}
    images = sorted(str(header.SOPInstanceUID) for header in headers)
    uid = known.pop() if len(known) == 1 else generate_uid(entropy_srcs=[keyword, *images])
    for header in lacking:
        setattr(header, keyword, uid)
    return bool(lacking)


def _is_valid(value: Any) -> bool:
    from pydicom.uid import UID

    return UID(str(value or "")).is_valid
