"""What clicks in the report panel lead to: draft, stream, show evidence, keep edits, copy, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication

from colipri_core.findings import EvidenceMap
from colipri_core.io import write_report
from colipri_core.listing import DraftRow
from colipri_core.listing import Position
from colipri_core.listing import report_rows
from colipri_core.listing import streamed_rows
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import as_text
from napari_colipri import navigation
from napari_colipri.source import layer_source

if TYPE_CHECKING:
    from collections.abc import Hashable

    from napari.layers import Image

    from colipri_core.progress import CancelToken
    from colipri_core.progress import ProgressCallback
    from napari_colipri.backend import Backend
    from napari_colipri.backend import ModelInfo
    from napari_colipri.backend import Request
    from napari_colipri.case import Case
    from napari_colipri.workflow import Workflow

AGAIN = "This draft has your edits. Press Draft report once more to replace it."


class _Relay(QObject):
    """Carries sentences from the worker to the GUI thread; the job keeps it alive."""

    written = Signal(object)


class Reporting(QObject):
    """The draft of each CT layer, with its edits.

    Args:
        workflow: Runs the work, and knows the current case.

    Signals:
        changed(): What the panel shows is no longer true.
    """

    changed = Signal()

    def __init__(self, workflow: Workflow) -> None:
        super().__init__()
        self._workflow = workflow
        self._reports: dict[Hashable, Report] = {}
        self._edited: set[Hashable] = set()
        self._note: tuple[Hashable, str] = (None, "")
        self._streamed: list[ReportSentence] | None = None
        self._drafted: Image | None = None
        self._relay: _Relay | None = None
        self._may_replace: Hashable = None
        self._wanted: Image | None = None
        workflow.analysed.connect(self._on_analysed)
        workflow.viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def note(self) -> str:
        """What there is to say of the draft of the current CT layer."""
        about, text = self._note
        return text if about == _key(self._workflow.layer) else ""

    @property
    def report(self) -> Report | None:
        """The draft of the current CT layer."""
        return self._reports.get(_key(self._workflow.layer))

    @property
    def drafting(self) -> bool:
        """Whether a draft of the current CT layer is being written."""
        return self._streamed is not None and self._drafted == self._workflow.layer

    @property
    def rows(self) -> tuple[DraftRow, ...]:
        """What the panel lists: the sentences written so far, or the draft."""
        if self._streamed is not None and self.drafting:
            return streamed_rows(self._streamed)
        return report_rows(self.report) if self.report is not None else ()

    def draft(self) -> bool:
        """Write a draft of the current CT; over an edited one only when asked twice.

        Returns:
            False if nothing was started: no CT, other work is running, or the edits are to be kept.
        """
        layer, key = self._workflow.layer, _key(self._workflow.layer)
        if key in self._edited and self._may_replace != key:
            self._may_replace = key
            self._say(AGAIN)
            return False
        return layer is not None and self._start(layer)

    def end(self) -> None:
        """No work is running any more: an unfinished draft leaves the former one; an analysed CT gets its first."""
        if self._streamed is not None:
            self._streamed = self._drafted = None
            self.changed.emit()
        wanted, self._wanted = self._wanted, None
        if wanted is not None and wanted in self._workflow.viewer.layers and _key(wanted) not in self._reports:
            self._start(wanted)

    def give_up(self) -> None:
        """Work was cancelled or failed: do not go on with a draft."""
        self._wanted = None

    def choose(self, row: DraftRow) -> None:
        """Show where a sentence leads: its heat map and place; or hide the map if it is visible.

        Args:
            row: The row that was clicked.
        """
        case = self._workflow.case
        if row.phrase is not None and case is not None and row.phrase in case.shown:
            self._workflow.hide_evidence(row.phrase)
        elif row.phrase is not None:
            self._workflow.show_evidence(row.phrase)
        elif row.place is not None and case is not None:
            navigation.go_to(self._workflow.viewer, case.layer, case.source.grid.ras_to_layer(row.place))

    def edit(self, position: Position, text: str) -> None:
        """Give a sentence other words; empty text removes it.

        Args:
            position: Which sentence.
            text: The words.
        """
        if self.report is not None:
            self._keep(self.report.edited(*position, text))

    def add(self, text: str) -> None:
        """Add the reader's own sentence to the findings, or whatever comes first.

        Args:
            text: The words.
        """
        if self.report is not None and self.report.sections:
            self._keep(self.report.added(0, text))

    def copy(self) -> None:
        """Put the draft on the clipboard as plain text, with its edits."""
        if self.report is not None:
            QApplication.clipboard().setText(as_text(self.report))
            self._say("Copied.")

    def export(self, path: Path) -> bool:
        """Write the draft to a file, with its edits; pictures show the heat maps if the same model is still chosen.

        Args:
            path: The file; its suffix decides the format.

        Returns:
            False if nothing was started: no draft, or other work is running.
        """
        report = self.report
        if report is None:
            return False

        def ask(
            backend: Backend, request: Request, progress: ProgressCallback, cancel: CancelToken
        ) -> tuple[ModelInfo, Path]:
            info = backend.load(request.choice, progress, cancel)

            def evidence(text: str) -> EvidenceMap:
                return backend.evidence(request, text, progress, cancel)[1]

            same_model = info.card == report.provenance.model
            find = evidence if same_model else None
            return info, write_report(report, path, source=request.volume, evidence=find)

        return self._workflow.run("Exporting the draft", ask, self._exported)

    def close(self) -> None:
        """Let go of the viewer and the workflow."""
        self._workflow.analysed.disconnect(self._on_analysed)
        self._workflow.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._reports.clear()

    def _start(self, layer: Image) -> bool:
        relay = _Relay()
        relay.written.connect(self._on_written)

        def ask(
            backend: Backend, request: Request, progress: ProgressCallback, cancel: CancelToken
        ) -> tuple[ModelInfo, Report]:
            return backend.draft_report(request, relay.written.emit, progress, cancel)

        before, started = (self._relay, self._streamed, self._drafted), False
        self._relay, self._streamed, self._drafted = relay, [], layer
        try:
            started = self._workflow.run("Drafting the report", ask, self._take, layer=layer)
        finally:
            if not started:
                self._relay, self._streamed, self._drafted = before
        self.changed.emit()
        return started

    def _take(self, case: Case, report: Report) -> tuple[str, ...]:
        key = _key(case.layer)
        self._reports[key] = report
        self._edited.discard(key)
        self._may_replace = self._streamed = self._drafted = None
        self._say("", case.layer)
        return report.provenance.warnings

    def _exported(self, case: Case, path: Path) -> tuple[str, ...]:
        self._say(f"Exported to {path.name}.", case.layer)
        return ()

    def _keep(self, report: Report) -> None:
        key = _key(self._workflow.layer)
        if report is not self.report:
            self._reports[key] = report
            self._edited.add(key)
            self._may_replace = None
        self._say("")

    def _say(self, note: str, layer: Image | None = None) -> None:
        self._note = (_key(self._workflow.layer if layer is None else layer), note)
        self.changed.emit()

    def _on_written(self, sentence: ReportSentence) -> None:
        if self._streamed is not None and self.sender() is self._relay:
            self._streamed.append(sentence)
            self.changed.emit()

    def _on_analysed(self, layer: Image) -> None:
        self._wanted = layer

    def _on_layer_removed(self, event: object) -> None:
        removed = event.value  # type: ignore[attr-defined]
        self._reports.pop(removed, None)
        self._edited.discard(removed)


def _key(layer: Image | None) -> Hashable:
    """What a draft is kept by: its layer, or the scan of a project, which comes back in a layer of its own."""
    source = layer_source(layer) if layer is not None else None
    return source.project if source is not None and source.project is not None else layer
