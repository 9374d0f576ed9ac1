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

if TYPE_CHECKING:
    from napari.layers import Image

    from colipri_core.progress import CancelToken
    from colipri_core.progress import ProgressCallback
    from napari_colipri.backend import Backend
    from napari_colipri.backend import ModelInfo
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
        self.note = ""
        self._workflow = workflow
        self._reports: dict[Image, Report] = {}
        self._edited: set[Image] = set()
        self._streamed: list[ReportSentence] | None = None
        self._relay: _Relay | None = None
        self._may_replace = False
        self._wanted: Image | None = None
        workflow.analysed.connect(self._on_analysed)
        workflow.viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def report(self) -> Report | None:
        """The draft of the current CT layer."""
        layer = self._workflow.layer
        return None if layer is None else self._reports.get(layer)

    @property
    def drafting(self) -> bool:
        """Whether a draft is being written."""
        return self._streamed is not None

    @property
    def rows(self) -> tuple[DraftRow, ...]:
        """What the panel lists: the sentences written so far, or the draft."""
        if self._streamed is not None:
            return streamed_rows(self._streamed)
        return report_rows(self.report) if self.report is not None else ()

    def draft(self) -> bool:
        """Write a draft of the current CT; over an edited one only when asked twice.

        Returns:
            False if nothing was started: no CT, other work is running, or the edits are to be kept.
        """
        layer = self._workflow.layer
        if layer in self._edited and not self._may_replace:
            self._may_replace = True
            self._say(AGAIN)
            return False
        self._relay = relay = _Relay()
        relay.written.connect(self._on_written)

        def ask(
            backend: Backend, case: Case, progress: ProgressCallback, cancel: CancelToken
        ) -> tuple[ModelInfo, Report]:
            return backend.draft_report(case.request, relay.written.emit, progress, cancel)

        self._streamed = []
        started = self._workflow.run("Drafting the report", ask, self._take)
        if not started:
            self._streamed = None
        self.changed.emit()
        return started

    def end(self) -> None:
        """No work is running any more: an unfinished draft leaves the former one; an analysed CT gets its first."""
        if self._streamed is not None:
            self._streamed = None
            self.changed.emit()
        wanted, self._wanted = self._wanted, None
        if wanted is not None and wanted == self._workflow.layer and self.report is None:
            self.draft()

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
            backend: Backend, case: Case, progress: ProgressCallback, cancel: CancelToken
        ) -> tuple[ModelInfo, Path]:
            info = backend.load(case.choice, progress, cancel)

            def evidence(text: str) -> EvidenceMap:
                return backend.evidence(case.request, text, progress, cancel)

            same_model = info.card == report.provenance.model
            find = evidence if same_model else None
            return info, write_report(report, path, source=case.source.volume, evidence=find)

        return self._workflow.run("Exporting the draft", ask, self._exported)

    def close(self) -> None:
        """Let go of the viewer and the workflow."""
        self._workflow.analysed.disconnect(self._on_analysed)
        self._workflow.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._reports.clear()

    def _take(self, case: Case, report: Report) -> tuple[str, ...]:
        self._reports[case.layer] = report
        self._edited.discard(case.layer)
        self._may_replace = False
        self._streamed = None
        self._say("")
        return report.provenance.warnings

    def _exported(self, case: Case, path: Path) -> tuple[str, ...]:
        self._say(f"Exported to {path.name}.")
        return ()

    def _keep(self, report: Report) -> None:
        layer = self._workflow.layer
        if layer is not None and report is not self.report:
            self._reports[layer] = report
            self._edited.add(layer)
            self._may_replace = False
        self._say("")

    def _say(self, note: str) -> None:
        self.note = note
        self.changed.emit()

    def _on_written(self, sentence: ReportSentence) -> None:
        if self._streamed is not None and self.sender() is self._relay:
            self._streamed.append(sentence)
            self.changed.emit()

    def _on_analysed(self) -> None:
        self._wanted = self._workflow.layer

    def _on_layer_removed(self, event: object) -> None:
        removed = event.value  # type: ignore[attr-defined]
        self._reports.pop(removed, None)
        self._edited.discard(removed)
