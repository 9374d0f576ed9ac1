"""Puts what the presenter says into the widgets of Colipri.ui; the Qt module and the widgets are handed in.

Only calls that PythonQt in Slicer and PySide6 in the tests understand alike, and only setters: what a widget holds is
never asked for here.
"""

from __future__ import annotations

from typing import Any

from colipri_core.listing import matches
from ColipriLib.presenter import FindingsView
from ColipriLib.presenter import LabelView
from ColipriLib.presenter import ModelView
from ColipriLib.presenter import ReportView
from ColipriLib.presenter import SimilarView
from ColipriLib.presenter import StructuresView
from ColipriLib.presenter import View
from ColipriLib.presenter import volume_text

TONES = {"idle": "", "ok": "color: #1b7f4d;", "problem": "color: #b3261e; font-weight: bold;"}
TOOL_BUTTONS = {"point": "pointButton", "scribble": "scribbleButton", "lasso": "lassoButton", "box": "boxButton"}
COLUMN_WIDTHS = {
    "findingsTable": (24, 260),
    "structuresTable": (24, 260),
    "objectsTable": (24, 260),
    "reportTable": (360,),
    "matchesTable": (160, 80),
}
"""Table -> widths of its columns in pixels; the last one takes the rest."""

_SHOWN, _HIDDEN = "\u25cf", "\u25cb"


class Panels:
    """Fills the panels; a panel whose state did not change is left alone.

    Args:
        ui: Has the widgets of Colipri.ui as attributes.
        qt: A module with Qt's classes, such as Slicer's `qt`.
    """

    def __init__(self, ui: Any, qt: Any) -> None:
        self._ui = ui
        self._qt = qt
        self._view: View | None = None
        self._query = ""
        self._cases: list[str] = []
        for name, widths in COLUMN_WIDTHS.items():
            for column, width in enumerate(widths):
                getattr(ui, name).setColumnWidth(column, width)

    def show(self, view: View) -> None:
        """Show a view.

        Args:
            view: What the panels are to show.
        """
        last, self._view = self._view, view
        if last is None or last.model != view.model:
            self._show_model(view.model)
        if last is None or last.findings != view.findings:
            self._show_findings(view.findings)
        if last is None or last.structures != view.structures:
            self._show_structures(view.structures)
        if last is None or last.label != view.label:
            self._show_label(view.label)
        if last is None or last.report != view.report or last.model.can_run != view.model.can_run:
            self._show_report(view.report, can_run=view.model.can_run)
        if last is None or last.similar != view.similar or last.model.can_run != view.model.can_run:
            self._show_similar(view.similar, can_run=view.model.can_run)

    def filter_findings(self, query: str) -> None:
        """Show only the findings that have these words.

        Args:
            query: The words.
        """
        self._query = query
        if self._view is not None:
            self._show_findings(self._view.findings)

    def _show_model(self, view: ModelView) -> None:
        ui = self._ui
        ui.statusLabel.setText(view.status)
        ui.statusLabel.setStyleSheet(TONES[view.tone])
        ui.noticeLabel.setText(view.notice)
        ui.warningsLabel.setText("\n".join(view.warnings))
        ui.warningsLabel.setVisible(bool(view.warnings))
        ui.problemLabel.setText(view.problem)
        ui.problemLabel.setStyleSheet(TONES["problem"])
        ui.problemLabel.setVisible(bool(view.problem))
        ui.progressBar.setVisible(bool(view.busy))
        ui.progressBar.setValue(view.percent)
        ui.progressBar.setFormat(f"{view.message or view.busy}  %p%")
        ui.cancelButton.setEnabled(bool(view.busy))
        for name in ("analyseButton", "askButton", "outlineButton"):
            getattr(ui, name).setEnabled(view.can_run)
        for name in ("connectButton", "serverEdit", "tokenEdit"):
            getattr(ui, name).setEnabled(not view.busy)

    def _show_findings(self, view: FindingsView) -> None:
        rows = [row for row in view.rows if matches(row.name, self._query)]
        table = self._ui.findingsTable
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            mark = f"{_SHOWN} " if row.name in view.shown else ""
            tip = f"{row.name}{f' ({row.code})' if row.code else ''}: click to show where the model sees it"
            name = self._item(row.name, tip)
            if row.asked:
                font = self._qt.QFont()
                font.setItalic(True)
                name.setFont(font)
            table.setItem(number, 0, self._item(mark, tip))
            table.setItem(number, 1, name)
            table.setCellWidget(number, 2, self._bar(row.probability))
        self._ui.findingsNote.setText(view.note)
        self._ui.hideHeatButton.setEnabled(bool(view.shown))

    def _show_structures(self, view: StructuresView) -> None:
        table = self._ui.structuresTable
        table.setRowCount(len(view.rows))
        for number, row in enumerate(view.rows):
            tip = f"{row.name}{f' ({row.code})' if row.code else ''}: double click to go there"
            eye = self._item(_SHOWN if row.label in view.shown else _HIDDEN, "Click to show or hide")
            eye.setForeground(self._brush(row.color))
            table.setItem(number, 0, eye)
            table.setItem(number, 1, self._item(row.name, tip))
            table.setItem(number, 2, self._item(volume_text(row.volume_ml) if row.place else "not found", tip))
        self._ui.structuresNote.setText(view.note)

    def _show_label(self, view: LabelView) -> None:
        ui = self._ui
        for tool, name in TOOL_BUTTONS.items():
            getattr(ui, name).setChecked(view.tool == tool)
        ui.applyButton.setEnabled(view.tool in ("scribble", "lasso", "box"))
        ui.positiveButton.setChecked(not view.positive)
        ui.positiveButton.setText("+ object" if view.positive else "\u2212 not object")
        ui.keepCheck.setChecked(view.keep)
        for button, text, nothing in ((ui.undoButton, view.undo, "undo"), (ui.redoButton, view.redo, "redo")):
            button.setEnabled(bool(text))
            button.setToolTip(f"{nothing.capitalize()}: {text}" if text else f"Nothing to {nothing}")
        self._show_objects(view)
        ui.labelNote.setText(view.note)

    def _show_objects(self, view: LabelView) -> None:
        ui = self._ui
        ui.objectsTable.setRowCount(len(view.objects))
        current = None
        for number, item in enumerate(view.objects):
            marks = "".join(mark for mark, on in ((" \u2713", item.done), (" (locked)", item.locked)) if on)
            chip = self._item(_SHOWN, f"Label {item.label}")
            chip.setForeground(self._brush(item.color))
            ui.objectsTable.setItem(number, 0, chip)
            ui.objectsTable.setItem(number, 1, self._item(f"{item.name}{marks}", item.code))
            ui.objectsTable.setItem(number, 2, self._item(view.volumes.get(item.label, ""), item.code))
            if item.label == view.current:
                current = item
                ui.objectsTable.selectRow(number)
        for name in ("objectName", "objectCode", "lockCheck", "doneCheck", "resetButton", "removeButton"):
            getattr(ui, name).setEnabled(current is not None)
        ui.saveLabelsButton.setEnabled(bool(view.objects))
        ui.regionButton.setEnabled(bool(view.objects))
        if current is not None:
            ui.objectName.setText(current.name)
            ui.objectCode.setText(current.code)
            ui.lockCheck.setChecked(current.locked)
            ui.doneCheck.setChecked(current.done)

    def _show_report(self, view: ReportView, *, can_run: bool) -> None:
        ui = self._ui
        ui.reportTable.setRowCount(len(view.rows))
        for number, row in enumerate(view.rows):
            tip = "\n".join(row.details)
            text = self._item(row.text, tip, editable=row.position is not None)
            flags = self._item(row.flags, tip)
            flags.setForeground(self._brush((179, 38, 30)))
            if row.is_heading:
                font = self._qt.QFont()
                font.setBold(True)
                text.setFont(font)
            ui.reportTable.setItem(number, 0, text)
            ui.reportTable.setItem(number, 1, flags)
        ui.reportTable.resizeRowsToContents()
        written = any(row.position is not None for row in view.rows)
        ui.draftButton.setEnabled(can_run)
        ui.reportNote.setText(view.note)
        for name in ("copyButton", "exportReportButton", "sentenceEdit"):
            getattr(ui, name).setEnabled(written)

    def _show_similar(self, view: SimilarView, *, can_run: bool) -> None:
        ui = self._ui
        cases = [row.match.case for row in view.rows]
        if cases != self._cases:
            self._cases = cases
            ui.matchesTable.setCurrentCell(-1, -1)
            ui.matchReport.setPlainText("")
        ui.matchesTable.setRowCount(len(view.rows))
        for number, row in enumerate(view.rows):
            tip = "\n".join((*row.details, row.match.path))
            for column, text in enumerate((row.match.case, f"{row.match.distance:.3f}", ", ".join(row.shared))):
                ui.matchesTable.setItem(number, column, self._item(text, tip))
        ui.similarNote.setText(view.note)
        ui.similarButton.setEnabled(can_run)

    def _item(self, text: str, tip: str, *, editable: bool = False) -> Any:
        kinds = self._qt.Qt
        item = self._qt.QTableWidgetItem(text)
        item.setToolTip(tip)
        flags = kinds.ItemIsSelectable | kinds.ItemIsEnabled
        item.setFlags(flags | kinds.ItemIsEditable if editable else flags)
        return item

    def _bar(self, probability: float) -> Any:
        bar = self._qt.QProgressBar()
        bar.setRange(0, 100)
        bar.setValue(round(100 * probability))
        bar.setFormat(f"{probability:.2f}")
        bar.setMaximumHeight(16)
        return bar

    def _brush(self, color: tuple[int, int, int]) -> Any:
        return self._qt.QBrush(self._qt.QColor(*color))
