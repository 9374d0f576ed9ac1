"""The report panel: the draft, sentence by sentence, to be checked, edited, copied and exported."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QLineEdit
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from colipri_core.listing import DraftRow
from napari_colipri.panels.draft_list import DraftDelegate
from napari_colipri.panels.draft_list import DraftList
from napari_colipri.panels.draft_list import DraftModel
from napari_colipri.style import Colors

_EMPTY = "Draft report writes what the model sees; every sentence leads to its place."
_FILTERS = {
    "Web page with key images (*.html)": ".html",
    "DICOM SR, unverified (*.dcm)": ".dcm",
    "Markdown (*.md)": ".md",
    "Plain text (*.txt)": ".txt",
    "JSON (*.json)": ".json",
}
"""What the file dialog offers -> suffix that is added to a name without one."""


class ReportPanel(QWidget):
    """The draft of the current case.

    Signals:
        draft_clicked(): Write a draft.
        cancel_clicked(): Stop writing it.
        chosen(object): A row was clicked: show its evidence.
        edited(object, str): A sentence was given other words; empty ones remove it.
        added(str): A sentence of the reader's own.
        copied(): Copy the draft.
        exported(object): Write the draft to this path.
        hidden(): Escape: hide the heat maps.
    """

    draft_clicked = Signal()
    cancel_clicked = Signal()
    chosen = Signal(object)
    edited = Signal(object, str)
    added = Signal(str)
    copied = Signal()
    exported = Signal(object)
    hidden = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._drafting = self._busy = False
        self._case = "draft"
        self.draft = QPushButton("Draft report")
        self.draft.clicked.connect(self._draft_or_cancel)
        self.copy = QPushButton("Copy")
        self.copy.setToolTip("Copy the draft as plain text, with your edits")
        self.copy.clicked.connect(self.copied)
        self.export = QPushButton("Export\u2026")
        self.export.setToolTip("Write the draft as web page, DICOM SR, Markdown, text or JSON, with your edits")
        self.export.clicked.connect(self._ask_path)
        self.note = QLabel(_EMPTY)
        self.note.setProperty("kind", "muted")
        self.note.setWordWrap(True)
        self.model = DraftModel()
        self.model.edited.connect(self.edited)
        self.delegate = DraftDelegate()
        self.list = DraftList(self.model, self.delegate)
        self.list.chosen.connect(self.chosen)
        self.list.removed.connect(lambda position: self.edited.emit(position, ""))
        self.list.escaped.connect(self.hidden)
        self.own = QLineEdit()
        self.own.setPlaceholderText("Add a sentence")
        self.own.setAccessibleName("Add a sentence")
        self.own.returnPressed.connect(self._add)
        self._lay_out()
        self.set_rows((), note="")
        self.set_state(ready=False, busy=False, drafting=False)

    def set_rows(self, rows: tuple[DraftRow, ...], *, note: str, case: str = "draft") -> None:
        """Show a draft.

        Args:
            rows: Its rows; empty for none.
            note: What stands above it: status and model.
            case: Name of the case, for the name of an exported file.
        """
        self._case = case
        self.model.set_rows(rows)
        self.list.setVisible(bool(rows))
        self.own.setVisible(any(row.position is not None for row in rows))
        self.note.setText(note or _EMPTY)
        self._allow_export()

    def set_state(self, *, ready: bool, busy: bool, drafting: bool) -> None:
        """Enable what can be done now.

        Args:
            ready: Whether there is a CT.
            busy: Whether work is running.
            drafting: Whether that work is a draft, which the button then cancels.
        """
        self._drafting, self._busy = drafting, busy
        self.draft.setText("Cancel" if drafting else "Draft report")
        self.draft.setToolTip(
            "Stop writing" if drafting else "Write a draft whose every sentence shows its place and a second opinion"
        )
        self.draft.setEnabled(drafting or (ready and not busy))
        self._allow_export()

    def set_shown(self, shown: frozenset[str]) -> None:
        """Mark the sentences whose heat map is visible.

        Args:
            shown: The phrases of the visible heat maps.
        """
        self.delegate.shown = shown
        self.list.viewport().update()

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self.list.set_colors(colors)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        buttons.addWidget(self.draft, 1)
        buttons.addWidget(self.copy)
        buttons.addWidget(self.export)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(buttons)
        layout.addWidget(self.note)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.own)

    def _allow_export(self) -> None:
        written = any(row.position is not None for row in self.model.rows)
        self.copy.setEnabled(written)
        self.export.setEnabled(written and not self._busy)

    def _draft_or_cancel(self) -> None:
        if self._drafting:
            self.cancel_clicked.emit()
        else:
            self.draft_clicked.emit()

    def _add(self) -> None:
        if self.own.text().strip():
            self.added.emit(self.own.text())
            self.own.clear()

    def _ask_path(self) -> None:
        name, chosen = QFileDialog.getSaveFileName(
            self, "Export the draft", f"{self._case}_draft.html", ";;".join(_FILTERS)
        )
        if name:
            path = Path(name)
            self.exported.emit(path if path.suffix else path.with_suffix(_FILTERS.get(chosen, ".html")))
