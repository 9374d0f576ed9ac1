"""COLIPRI in the viewer: the shared, torch-free core (volumes, results, engine)."""

from __future__ import annotations

from colipri_core.engine import Capabilities
from colipri_core.engine import Engine
from colipri_core.engine import Session
from colipri_core.engine import open_engine
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Finding
from colipri_core.findings import Findings
from colipri_core.geometry import VolumeGeometry
from colipri_core.io.checks import check_volume
from colipri_core.io.read import read_volume
from colipri_core.progress import CancelToken
from colipri_core.report import DraftOptions
from colipri_core.report import Report
from colipri_core.report import ReportSection
from colipri_core.report import ReportSentence
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

__all__ = [
    "CancelToken",
    "Capabilities",
    "DraftOptions",
    "Engine",
    "EvidenceMap",
    "Finding",
    "Findings",
    "Report",
    "ReportSection",
    "ReportSentence",
    "Segment",
    "Segmentation",
    "Session",
    "Volume",
    "VolumeGeometry",
    "check_volume",
    "open_engine",
    "read_volume",
]
