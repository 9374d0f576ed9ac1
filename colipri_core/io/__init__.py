"""Readers and writers: NIfTI, NRRD, MetaImage and DICOM to and from `Volume`.

Nothing heavy is imported here: nibabel, SimpleITK, pydicom and highdicom are loaded by the call that needs them.
"""

from __future__ import annotations

from colipri_core.io.checks import check_volume
from colipri_core.io.labelmap import check_labelmap_output
from colipri_core.io.labelmap import read_labelmap
from colipri_core.io.labelmap import write_labelmap
from colipri_core.io.names import derivative_name
from colipri_core.io.read import read_volume
from colipri_core.io.report import check_report_output
from colipri_core.io.report import write_report
from colipri_core.io.suffixes import LABELMAP_SUFFIXES
from colipri_core.io.suffixes import REPORT_SUFFIXES
from colipri_core.io.suffixes import SURFACE_SUFFIXES
from colipri_core.io.suffixes import VOLUME_SUFFIXES
from colipri_core.io.surface import write_surface
from colipri_core.io.surface import write_surfaces
from colipri_core.io.write import check_map_output
from colipri_core.io.write import convert
from colipri_core.io.write import write_map
from colipri_core.io.write import write_volume

__all__ = [
    "LABELMAP_SUFFIXES",
    "REPORT_SUFFIXES",
    "SURFACE_SUFFIXES",
    "VOLUME_SUFFIXES",
    "check_labelmap_output",
    "check_map_output",
    "check_report_output",
    "check_volume",
    "convert",
    "derivative_name",
    "read_labelmap",
    "read_volume",
    "write_labelmap",
    "write_map",
    "write_report",
    "write_surface",
    "write_surfaces",
    "write_volume",
]
