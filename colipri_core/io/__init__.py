"""Readers and writers: NIfTI, NRRD, MetaImage and DICOM to and from `Volume`.

Nothing heavy is imported here: nibabel, SimpleITK, pydicom and highdicom are loaded by the call that needs them.
"""

from __future__ import annotations

from colipri_core.io.checks import check_volume
from colipri_core.io.read import read_volume

__all__ = [
    "check_volume",
    "read_volume",
]
