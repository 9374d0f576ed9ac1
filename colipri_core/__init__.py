"""COLIPRI in the viewer: the shared, torch-free core (volumes, results, engine)."""

from __future__ import annotations

from colipri_core.cases import CaseFilter
from colipri_core.cases import Match
from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.editing.log import replay_log
from colipri_core.engine import Capabilities
from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Finding
from colipri_core.findings import FindingEvidence
from colipri_core.findings import Findings
from colipri_core.geometry import VolumeGeometry
from colipri_core.index.store import open_store
from colipri_core.io.checks import check_volume
from colipri_core.io.read import read_volume
from colipri_core.progress import CancelToken
from colipri_core.prompts import Box
from colipri_core.prompts import Crop
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Scribble
from colipri_core.report import DraftOptions
from colipri_core.report import Report
from colipri_core.report import ReportSection
from colipri_core.report import ReportSentence
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.session import Session
from colipri_core.volume import Volume

__all__ = [
    "AddObject",
    "Adopt",
    "Box",
    "CancelToken",
    "Capabilities",
    "CaseFilter",
    "Change",
    "ChangeObject",
    "Crop",
    "DraftOptions",
    "EditingState",
    "Engine",
    "EvidenceMap",
    "Finding",
    "FindingEvidence",
    "Findings",
    "Lasso",
    "Match",
    "Paint",
    "Phrase",
    "Point",
    "RemoveObject",
    "Report",
    "ReportSection",
    "ReportSentence",
    "ResetObject",
    "Scribble",
    "Segment",
    "Segmentation",
    "Session",
    "Volume",
    "VolumeGeometry",
    "check_volume",
    "open_engine",
    "open_store",
    "read_volume",
    "replay_log",
]
