"""Which file names mean which format."""

from __future__ import annotations

from pathlib import Path

NIFTI_SUFFIXES = (".nii.gz", ".nii")
NRRD_SUFFIXES = (".nrrd", ".nhdr")
META_SUFFIXES = (".mha", ".mhd")
ITK_SUFFIXES = NRRD_SUFFIXES + META_SUFFIXES
SEG_NRRD_SUFFIX = ".seg.nrrd"
DICOM_SUFFIX = ".dcm"
SURFACE_SUFFIXES = (".stl", ".obj")
VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".mha")
LABELMAP_SUFFIXES = (SEG_NRRD_SUFFIX, *VOLUME_SUFFIXES, DICOM_SUFFIX)
REPORT_SUFFIXES = (".md", ".txt", ".json", ".html", DICOM_SUFFIX)
_ALL = (SEG_NRRD_SUFFIX, *NIFTI_SUFFIXES, *ITK_SUFFIXES, DICOM_SUFFIX, ".zip")


def without_suffix(name: str) -> str:
    """A file name without the suffix of a format we read; other dots stay."""
    suffix = next((suffix for suffix in _ALL if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def matching_suffix(path: Path, allowed: tuple[str, ...]) -> str:
    """Return which of the allowed suffixes a path has.

    Args:
        path: File to be written.
        allowed: Suffixes in lower case; longer ones first where one ends with another.

    Raises:
        ValueError: If it has none of them (the message lists them), or is .seg.nrrd where no labelmap is written: that
            name promises segments.
    """
    name = path.name.lower()
    for suffix in allowed:
        if name.endswith(suffix):
            if suffix == ".nrrd" and name.endswith(SEG_NRRD_SUFFIX):
                raise ValueError(_promises_segments(path.name))
            return suffix
    msg = f'Cannot tell the format of "{path.name}": the name must end in one of {", ".join(allowed)}.'
    raise ValueError(msg)


def _promises_segments(name: str) -> str:
    return (
        f'Expected the name of a file without segments, got "{name}": .seg.nrrd holds outlines with their names. '
        f'Name it "{without_suffix(name)}.nrrd", or outline with `colipri segment -o {name}`.'
    )
