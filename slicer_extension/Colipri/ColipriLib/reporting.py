"""What the panel Report leads to: draft, stream, show where a sentence points, keep edits, export, text node."""

from __future__ import annotations

from pathlib import Path

from colipri_core.findings import EvidenceMap
from colipri_core.listing import DraftRow
from colipri_core.listing import Position
from colipri_core.listing import report_rows
from colipri_core.listing import streamed_rows
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import as_markdown
from colipri_core.report_words import as_text
from colipri_core.report_words import title
from colipri_core.session import Session
from ColipriLib.analysis import Analysis
from ColipriLib.case import Case
from ColipriLib.desk import Desk
from ColipriLib.scene import places
from ColipriLib.scene import texts

AGAIN = "This draft has your edits. Press Draft report once more to replace it."


class Reporting:
    """The draft of the chosen CT, with its edits.

    Args:
        desk: Scene, connection and worker.
        analysis: Shows heat maps.
    """

    def __init__(self, desk: Desk, analysis: Analysis) -> None:
        self.note = ""
        self._desk = desk
        self._analysis = analysis
        self._written: list[ReportSentence] | None = None
        self._drafted: Case | None = None
        self._may_replace: Report | None = None

    @property
    def report(self) -> Report | None:
        """The draft of the chosen CT."""
        return self._desk.case.report if self._desk.case is not None else None

    @property
    def drafting(self) -> bool:
        """Whether a draft is being written."""
        return self._written is not None

    @property
    def rows(self) -> tuple[DraftRow, ...]:
        """The sentences written so far, or the draft, of the chosen CT."""
        if self._written is not None and self._drafted is self._desk.case:
            return streamed_rows(self._written)
        return report_rows(self.report) if self.report is not None else ()

    def draft(self) -> bool:
        """Write a draft; over an edited one only when asked twice.

        Returns:
            False if nothing was started.
        """
        case = self._desk.case
        if case is not None and case.report_edited and self._may_replace is not case.report:
            self._may_replace = case.report
            self._say(AGAIN)
            return False
        written: list[ReportSentence] = []

        def on_sentence(sentence: ReportSentence) -> None:
            written.append(sentence)
            self._desk.runner.nudge()

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Report:
            return session.draft_report(on_sentence=on_sentence, progress=progress, cancel=cancel)

        self._written = written
        started = self._desk.run("Drafting the report", ask, self._take, on_stopped=self._stopped)
        if started:
            self._drafted = self._desk.case
        else:
            self._written = None
        return started

    def choose(self, row: DraftRow) -> None:
        """Show where a sentence leads: its heat map, or its place.

        Args:
            row: The row that was clicked.
        """
        if row.phrase is not None:
            self._analysis.toggle_evidence(row.phrase)
        elif row.place is not None:
            places.go_to(self._desk.scene, row.place)

    def edit(self, position: Position, text: str) -> None:
        """Give a sentence other words; empty text removes it.

        Args:
            position: Which sentence.
            text: The words.
        """
        if self.report is not None:
            self._keep(self.report.edited(*position, text))

    def add(self, text: str) -> None:
        """Add the reader's own sentence to the first section; empty text does nothing.

        Args:
            text: The words.
        """
        if self.report is not None and self.report.sections and text.strip():
            self._keep(self.report.added(0, text))

    def plain_text(self) -> str:
        """The draft as it goes to the clipboard; empty without one."""
        return as_text(self.report) if self.report is not None else ""

    def export(self, path: Path) -> bool:
        """Write the draft to a file, with its edits; pictures show the heat maps if the same model is connected.

        Args:
            path: The file; its suffix decides the format.

        Returns:
            False if nothing was started.
        """
        report = self.report
        if report is None:
            return False

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Path:
            from colipri_core.io import write_report

            def evidence(text: str) -> EvidenceMap:
                return session.evidence(text, progress=progress, cancel=cancel)

            info = self._desk.client.info
            same_model = info is not None and info.card == report.provenance.model
            return write_report(report, path, source=session.volume, evidence=evidence if same_model else None)

        return self._desk.run(f"Exporting {path.name}", ask, lambda case, done: self._say(f"Exported to {done.name}."))

    def show_text(self, case: Case) -> None:
        """Write the draft of a case into its text node.

        Args:
            case: The case; without a draft nothing is written.
        """
        if case.report is not None:
            node = self._desk.params.node_of("report", case.node)
            node = texts.write_text(self._desk.scene, node, title(case.report), as_markdown(case.report))
            self._desk.params.set_node("report", node, case.node)

    def _take(self, case: Case, report: Report) -> None:
        case.report, case.report_edited = report, False
        self._written, self._may_replace = None, None
        case.warn(report.provenance.warnings)
        self.show_text(case)
        self._say("")

    def _stopped(self) -> None:
        self._written = None
        self._desk.changed()

    def _keep(self, report: Report) -> None:
        case = self._desk.case
        if case is not None and report is not case.report:
            case.report, case.report_edited = report, True
            self._may_replace = None
            self.show_text(case)
        self._say("")

    def _say(self, note: str) -> None:
        self.note = note
        self._desk.changed()
