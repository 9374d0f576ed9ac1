"""The findings panel: bars sorted by probability, a filter, and a field that asks for any phrase."""

from __future__ import annotations

from qtpy.QtCore import QRectF
from qtpy.QtCore import Qt
from qtpy.QtCore import Signal
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QLineEdit
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from colipri_core.listing import FindingRow
from colipri_core.listing import matches
from napari_colipri.panels.rows import RowDelegate
from napari_colipri.panels.rows import RowList
from napari_colipri.panels.rows import RowModel
from napari_colipri.style import Colors

_EMPTY = "Analyse lists what the model sees."
_UNCALIBRATED = "Not calibrated: the numbers rank, they are no risks."


class FindingDelegate(RowDelegate):
    """Name, bar and number of a finding; a mark at the left while its heat map is visible."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: frozenset[str] = frozenset()

    def is_marked(self, row: FindingRow) -> bool:
        """Whether the finding's heat map is visible."""
        return row.name in self.shown

    def paint_row(self, painter: QPainter, area: QRectF, row: FindingRow) -> None:
        """Paint name, bar and number."""
        assert self.colors is not None
        if self.is_marked(row):
            painter.setBrush(self.colors.heat)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(QRectF(area.left(), area.top() + 3, 3, area.height() - 6), 1.5, 1.5)
        number_width = painter.fontMetrics().horizontalAdvance("0.00") + 6
        bar_width = max(56.0, area.width() * 0.24)
        number = area.adjusted(area.width() - number_width - 6, 0, -6, 0)
        bar = QRectF(number.left() - bar_width - 4, area.center().y() - 4, bar_width, 8)
        name = area.adjusted(10, 0, -(area.right() - bar.left()) - 8, 0)
        self._paint_name(painter, name, row)
        self._paint_bar(painter, bar, row.probability)
        self.text(painter, number, f"{row.probability:.2f}", self.colors.text, right=True)

    def _paint_name(self, painter: QPainter, area: QRectF, row: FindingRow) -> None:
        assert self.colors is not None
        font = painter.font()
        font.setItalic(row.asked)
        painter.setFont(font)
        self.text(painter, area, row.name, self.colors.text)
        font.setItalic(False)
        painter.setFont(font)

    def _paint_bar(self, painter: QPainter, area: QRectF, probability: float) -> None:
        assert self.colors is not None
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.colors.track)
        painter.drawRoundedRect(area, 4, 4)
        filled = QRectF(area)
        filled.setWidth(max(area.height(), area.width() * probability))
        painter.setBrush(self.colors.accent)
        painter.drawRoundedRect(filled, 4, 4)


class FindingsPanel(QWidget):
    """Findings of the current case.

    Signals:
        chosen(str): A row was clicked: show its evidence.
        asked(str): A phrase was entered.
        hidden(): Escape: hide the heat maps.
    """

    chosen = Signal(str)
    asked = Signal(str)
    hidden = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[FindingRow, ...] = ()
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter findings")
        self.filter.setClearButtonEnabled(True)
        self.filter.setAccessibleName("Filter findings")
        self.filter.textChanged.connect(self._refresh)
        self.model = RowModel(_describe, lambda row: f"{row.name}, probability {row.probability:.2f}")
        self.delegate = FindingDelegate()
        self.list = RowList(self.model, self.delegate, "Findings")
        self.list.chosen.connect(lambda row: self.chosen.emit(row.name))
        self.list.toggled.connect(lambda row: self.chosen.emit(row.name))
        self.list.escaped.connect(self.hidden)
        self.note = QLabel(_EMPTY)
        self.note.setProperty("kind", "muted")
        self.note.setWordWrap(True)
        self.phrase = QLineEdit()
        self.phrase.setPlaceholderText("Ask for any phrase, e.g. calcified granuloma")
        self.phrase.setAccessibleName("Ask for any phrase")
        self.phrase.returnPressed.connect(self._ask)
        self.ask = QPushButton("Ask")
        self.ask.setToolTip("Ask the model for this phrase and show where it sees it (Enter)")
        self.ask.clicked.connect(self._ask)
        self._lay_out()
        self._refresh()

    def set_rows(self, rows: tuple[FindingRow, ...]) -> None:
        """Show these findings.

        Args:
            rows: Sorted rows.
        """
        self._rows = rows
        self._refresh()

    def set_shown(self, shown: frozenset[str]) -> None:
        """Mark the findings whose heat map is visible, and bring one that has just become so into view.

        Args:
            shown: Their names.
        """
        news = shown - self.delegate.shown
        self.delegate.shown = shown
        for number, row in enumerate(self.model.rows):
            if row.name in news:
                self.list.scrollTo(self.model.index(number))
        self.list.viewport().update()

    def set_askable(self, *, askable: bool) -> None:
        """Enable or disable asking.

        Args:
            askable: Whether a phrase could be asked for now.
        """
        self.ask.setEnabled(askable)
        self.phrase.setReadOnly(not askable)

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self.list.set_colors(colors)

    def _lay_out(self) -> None:
        question = QHBoxLayout()
        question.setSpacing(6)
        question.addWidget(self.phrase, 1)
        question.addWidget(self.ask)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.filter)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.note)
        layout.addLayout(question)

    def _refresh(self) -> None:
        query = self.filter.text()
        rows = tuple(row for row in self._rows if matches(row.name, query))
        self.model.set_rows(rows)
        self.filter.setVisible(bool(self._rows))
        self.list.setVisible(bool(rows))
        self.note.setText(self._note(rows))
        self.note.setVisible(bool(self.note.text()))

    def _note(self, rows: tuple[FindingRow, ...]) -> str:
        if not self._rows:
            return _EMPTY
        if not rows:
            return f'No finding matches "{self.filter.text()}". Ask for it below.'
        return "" if all(row.calibrated for row in rows) else _UNCALIBRATED

    def _ask(self) -> None:
        phrase = self.phrase.text().strip()
        if phrase and self.ask.isEnabled():
            self.phrase.clear()
            self.filter.clear()
            self.asked.emit(phrase)


def _describe(row: FindingRow) -> str:
    calibration = "calibrated" if row.calibrated else "uncalibrated"
    code = f" ({row.code})" if row.code else ""
    return (
        f"{row.name}{code}\nProbability {row.probability:.3f}, {calibration}\n"
        "Click: show where the model sees it; click again or Escape: hide. Shift+click keeps other maps."
    )
