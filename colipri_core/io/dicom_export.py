"""What every DICOM object that is written here shares: optional package, product name, whole headers, plain texts."""

from __future__ import annotations

import unicodedata
from importlib import metadata
from typing import Any

from colipri_core.errors import MissingDependencyError

PRODUCT = "napari-colipri"
UTF8 = "ISO_IR 192"
"""Character set of what is written: names may be of any script, and what comes from the source is converted."""
_LONG_STRING = 64
_MAY_BE_EMPTY = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)


def require_highdicom(purpose: str) -> Any:
    """Return the package highdicom.

    Args:
        purpose: What needs it, for the message.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import highdicom
        import highdicom.seg
        import highdicom.sr
    except ImportError as error:
        msg = f"{purpose} needs highdicom, which is not installed: pip install 'napari-colipri[dicom]'."
        raise MissingDependencyError(msg) from error
    return highdicom


def complete(dataset: Any) -> None:
    """Add, empty, what the Standard wants present but anonymisation often drops; highdicom copies these.

    Args:
        dataset: Header of a source image, changed in place.
    """
    for keyword in _MAY_BE_EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, None)


def long_string(text: str) -> str:
    """Return a text as one value of type LO (DICOM PS3.5, 6.2): no backslash, which would part it, and 64 characters.

    Args:
        text: Any text.
    """
    plain = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    return plain.replace("\\", "/").strip()[:_LONG_STRING].rstrip()


def product_version() -> str:
    """Return the installed version of this package."""
    try:
        return metadata.version(PRODUCT)
    except metadata.PackageNotFoundError:
        return "unknown"
