"""A volume opened behind a URL: questions go to the server, labels and history live here as well.

The labels here are a mirror: each answer to an edit carries the box that changed and the step it became, so looking at
labels, state or log costs nothing, undo never runs out, and a lost server loses nothing that was acknowledged.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from typing import Self

import numpy as np

from colipri_core.cases import CaseFilter
from colipri_core.cases import CaseSearch
from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import RegionEmbedding
from colipri_core.cases import RegionMask
from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.editing.log import edit_log
from colipri_core.errors import EmptyHistoryError
from colipri_core.errors import SessionClosedError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts import Prompt
from colipri_core.provenance import Provenance
from colipri_core.remote.client.calls import CLOSED
from colipri_core.remote.client.calls import Control
from colipri_core.remote.client.link import Link
from colipri_core.remote.client.server import Server
from colipri_core.remote.client.store import RemoteStore
from colipri_core.remote.client.transport import Body
from colipri_core.remote.protocol.editing import EditRequest
from colipri_core.remote.protocol.editing import PromptRequest
from colipri_core.remote.protocol.editing import StepRequest
from colipri_core.remote.protocol.editing import answer_from
from colipri_core.remote.protocol.editing import delta_between
from colipri_core.remote.protocol.editing import edit_parts
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import CheckRequest
from colipri_core.remote.protocol.questions import ClassifyRequest
from colipri_core.remote.protocol.questions import EmbeddingRequest
from colipri_core.remote.protocol.questions import EvidenceRequest
from colipri_core.remote.protocol.questions import ReportRequest
from colipri_core.remote.protocol.questions import SegmentRequest
from colipri_core.remote.protocol.questions import SimilarRequest
from colipri_core.remote.protocol.questions import embedding_parts
from colipri_core.remote.protocol.questions import similar_parts
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import embeddings_from
from colipri_core.remote.protocol.results import evidence_from
from colipri_core.remote.protocol.results import matches_from
from colipri_core.remote.protocol.results import regions_from
from colipri_core.remote.protocol.results import segmentation_from
from colipri_core.report import NEAREST_SENTENCES
from colipri_core.report import DraftOptions
from colipri_core.report import Report
from colipri_core.report import SentenceCallback
from colipri_core.report import SentenceStore
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume
