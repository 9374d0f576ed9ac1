"""An engine without a model: answers that follow from the voxels by simple rules, to drive the panels in tests."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from drafts import small_report
from growing import Grower

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.log import edit_log
from colipri_core.engine import Capabilities
from colipri_core.errors import CapabilityError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Finding
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.report import Report
from colipri_core.report import ReportSection
from colipri_core.report import ReportSentence
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_core.vocabulary.structures import STRUCTURES
from colipri_core.volume import Volume

CARD = ModelCard(
    name="scripted",
    sha256="5c21b7ed" + "0" * 56,
    kind="scripted",
    training_data="nothing: answers follow from simple rules.",
    synthetic=True,
    licence="Apache-2.0",
)
WARNING = "This does not look like a chest CT: the numbers below mean little."
STEPS = 20


class ScriptedSession:
    """Answers by rule; every call has `STEPS` steps and may be held at a gate between them."""

    def __init__(self, engine: ScriptedEngine, volume: Volume, autosave: Path | None = None) -> None:
        self.volume = volume
        self._autosave = autosave
        self._editor: LabelEditor | None = None
        self._engine = engine
        self.closed = False

    def classify(self, findings=None, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None):
        if not self._engine.reads_words:
            raise CapabilityError("scripted reads no text.")
        names = CT_RATE_FINDINGS if findings is None else tuple(findings)
        self._engine.walk("Reading the volume", progress, cancel)
        items = tuple(
            Finding(name=name, code="", probability=(sum(name.encode()) % 101) / 101, calibrated=False)
            for name in names
        )
        return Findings(case=self.volume.name, items=items, provenance=self._provenance())

    def evidence(self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None):
        """A blob around the voxel whose index is a third, a half or so of the shape, by the phrase."""
        self._engine.walk(f"Looking for {text}", progress, cancel)
        peak = expected_peak(self.volume, text)
        grids = np.meshgrid(*(np.arange(size) for size in self.volume.shape), indexing="ij", sparse=True)
        distance = sum(
            ((grid - index) * step) ** 2 for grid, index, step in zip(grids, peak, self.volume.spacing, strict=True)
        )
        return EvidenceMap(
            text=text,
            values=np.exp(-distance / (2 * 18.0**2)).astype(np.float32),
            geometry=self.volume.geometry,
            peak_ras=self.volume.geometry.index_to_world(peak),
            peak_value=1.0,
            provenance=self._provenance(),
        )

    def segment(
        self, structures=None, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> Segmentation:
        """Air, tissue and bone by HU."""
        if not self._engine.with_structures:
            msg = "This model has no structure head. Choose one that has."
            raise CapabilityError(msg)
        self._engine.walk("Finding structures", progress, cancel)
        bounds = np.array([-950.0, -500.0, 250.0])
        labelmap = np.digitize(self.volume.voxels, bounds).astype(np.uint8)
        names = ("Airways", "Heart", "Spine")
        segments = tuple(
            Segment(label=label, name=name, color=next(s.color for s in STRUCTURES if s.name == name))
            for label, name in enumerate(names, start=1)
        )
        return Segmentation(
            labelmap=labelmap,
            geometry=self.volume.geometry,
            segments=segments,
            provenance=self._provenance(),
            uncertainty=self._engine.uncertainty(self.volume) if self._engine.uncertainty else None,
        )

    def prompt(self, prompt, *, label=1, policy="keep", progress=None, cancel=None):
        """Regions grown from the prompts."""
        asked = self.editor.ask(prompt, label=label, policy=policy)
        self._engine.walk("Growing", progress, cancel)
        phrase = next((p for p in reversed(asked.prompts) if p.kind == "phrase"), None)
        seen_at = tuple(map(float, self.evidence(phrase.text).peak_ras)) if phrase is not None else None
        previous = None if asked.previous.is_empty else asked.previous
        proposal = Grower().propose(self.volume, asked.prompts, previous=previous, seen_at=seen_at)
        return self.editor.answer(asked, proposal, model=Grower.card)

    def edit(self, edit):
        return self.editor.apply(edit)

    def undo(self):
        return self.editor.undo()

    def redo(self):
        return self.editor.redo()

    @property
    def editor(self) -> LabelEditor:
        if self._editor is None:
            self._editor = LabelEditor(self.volume, autosave=self._autosave)
        return self._editor

    @property
    def editing(self):
        return self.editor.state

    @property
    def segmentation(self) -> Segmentation:
        return Segmentation(labelmap=self.editor.labelmap, geometry=self.volume.geometry, segments=self.editor.segments)

    def edit_log(self):
        return edit_log(self.volume, self.editor.steps)

    def draft_report(
        self,
        *,
        store=None,
        on_sentence=None,
        options=None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """The sentences of the engine's draft, with places in this volume; the gate holds it after the first."""
        report = dataclasses.replace(
            small_report(self.volume.name), provenance=self._provenance(), sections=self._sections()
        )
        for number, sentence in enumerate(report):
            if number:
                self._engine.walk("Writing the draft", progress, cancel)
            if on_sentence is not None:
                on_sentence(sentence)
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        if self._editor is not None:
            self._editor.close()

    def _sections(self) -> tuple[ReportSection, ...]:
        def placed(sentence: ReportSentence) -> ReportSentence:
            peak = expected_peak(self.volume, sentence.support.evidence_text or "")
            r, a, s = (float(value) for value in self.volume.geometry.index_to_world(peak))
            return dataclasses.replace(sentence, place_ras=(r, a, s))

        return tuple(
            ReportSection(name=section.name, sentences=tuple(placed(sentence) for sentence in section.sentences))
            for section in small_report().sections
        )

    def _provenance(self) -> Provenance:
        return Provenance(
            model=CARD, preprocessing={}, versions={}, device="cpu", timings={}, warnings=self._engine.warnings
        )


class ScriptedEngine:
    """Implements `colipri_core.engine.Engine` by rule.

    Args:
        with_structures: Whether it can outline.
        reads_words: Whether it knows findings and phrases.
        warnings: Goes into every result's provenance.
        error: Raised by every long call.

    Attributes:
        uncertainty: Says how unsure it is of a volume's structures; None says nothing.
    """

    card = CARD
    device = "cpu"

    def __init__(
        self,
        *,
        with_structures: bool = True,
        reads_words: bool = True,
        warnings: tuple[str, ...] = (),
        error: Exception | None = None,
    ) -> None:
        self.with_structures = with_structures
        self.reads_words = reads_words
        self.warnings = warnings
        self.error = error
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.sessions: list[ScriptedSession] = []
        self.threads: set[int] = set()
        self.closed = False
        self.uncertainty: Callable[[Volume], float] | None = None

    @property
    def versions(self) -> dict[str, str]:
        return {}

    @property
    def capabilities(self) -> Capabilities:
        structures = STRUCTURES[:3] if self.with_structures else ()
        findings = CT_RATE_FINDINGS if self.reads_words else ()
        return Capabilities(findings=findings, free_text=self.reads_words, structures=structures)

    def open(self, volume: Volume, *, autosave: Path | None = None) -> ScriptedSession:
        self.sessions.append(ScriptedSession(self, volume, autosave))
        return self.sessions[-1]

    def walk(self, message: str, progress: ProgressCallback | None, cancel: CancelToken | None) -> None:
        """Report `STEPS` steps; while the gate is closed, wait at the first until it opens or the call is cancelled."""
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        report = Reporter(progress, cancel)
        for step in range(STEPS):
            report(step / STEPS, message)
            self.entered.set()
            while not self.gate.wait(0.01):
                report(step / STEPS, message)
        report(1.0, message)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def expected_peak(volume: Volume, text: str) -> np.ndarray:
    """Voxel in which the scripted evidence for a phrase peaks."""
    share = 0.3 + 0.05 * (sum(text.encode()) % 8)
    return np.floor(np.asarray(volume.shape) * (share, 0.5, 1 - share)).astype(int)
