"""The Similar panel: choose a store, search it, and read what was found."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QRectF
from qtpy.QtCore import QSize
from qtpy.QtCore import Qt
from qtpy.QtCore import Signal
from qtpy.QtGui import QImage
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QCompleter
from qtpy.QtWidgets import QFileDialog
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QLineEdit
from qtpy.QtWidgets import QPlainTextEdit
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QStyleOptionViewItem
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from colipri_core.cases import PLANES
from napari_colipri.panels.rows import RowDelegate
from napari_colipri.panels.rows import RowList
from napari_colipri.panels.rows import RowModel
from napari_colipri.similar import MatchRow
from napari_colipri.style import Colors

PICTURE = 54
"""Edge of a thumbnail in pixels."""

_REPORT_HEIGHT = 90
_STORE_HINT = "Folder of a case store"
_EMPTY = "Choose a store of cases, made with colipri index add."


class MatchDelegate(RowDelegate):
    """Three thumbnails, name and distance, shared and other findings of a match."""

    def __init__(self) -> None:
        super().__init__()
        self.selected: MatchRow | None = None

    def sizeHint(self, option: QStyleOptionViewItem, index: object) -> QSize:  # noqa: N802 - Qt's name
        """High enough for a thumbnail and three lines."""
        return QSize(220, max(PICTURE + 10, 3 * option.fontMetrics.height() + 14))

    def is_marked(self, row: MatchRow) -> bool:
        """Whether the match's report is shown."""
        return row is self.selected

    def paint_row(self, painter: QPainter, area: QRectF, row: MatchRow) -> None:
        """Paint thumbnails and texts."""
        assert self.colors is not None
        left = area.left() + 4
        for plane in PLANES:
            _paint_picture(painter, QRectF(left, area.top() + 4, PICTURE, PICTURE), row.match.thumbnails.get(plane))
            left += PICTURE + 3
        height = painter.fontMetrics().height() + 2
        texts = area.adjusted(left - area.left() + 5, 4, -6, 0)
        lines = [QRectF(texts.left(), texts.top() + number * height, texts.width(), height) for number in range(3)]
        distance = f"{row.match.distance:.3f}"
        width = painter.fontMetrics().horizontalAdvance(distance) + 6
        self.text(painter, lines[0].adjusted(0, 0, -width, 0), row.name, self.colors.text)
        self.text(painter, lines[0], distance, self.colors.muted, right=True)
        self.text(painter, lines[1], ", ".join(row.shared), self.colors.text)
        self.text(painter, lines[2], ", ".join(row.other), self.colors.muted)


class SimilarPanel(QWidget):
    """Search for cases, and what was found.

    Signals:
        store_chosen(str): Another store's address was given.
        similar_clicked(): Look for cases like the whole scan.
        region_clicked(): Look for the drawn region.
        searched(str): A phrase was entered.
        open_clicked(object): Open this match beside the current case.
    """

    store_chosen = Signal(str)
    similar_clicked = Signal()
    region_clicked = Signal()
    searched = Signal(str)
    open_clicked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._ready = self._busy = False
        self._offered: tuple[str, ...] = ()
        self.store = _field(_STORE_HINT, "Case store")
        self.browse = QPushButton("Choose")
        self.similar = QPushButton("Find similar")
        self.region = QPushButton("Find region")
        self.phrase = _field("Search the images, e.g. pleural effusion", "Phrase to search cases for")
        self.ask = QPushButton("Search")
        self.note = QLabel(_EMPTY)
        self.model = RowModel(_describe, _speak)
        self.delegate = MatchDelegate()
        self.list = RowList(self.model, self.delegate, "Similar cases")
        self.report = QPlainTextEdit()
        self.open = QPushButton("Open beside")
        self._dress()
        self._connect()
        self._lay_out()
        self.set_rows((), "")

    def set_rows(self, rows: tuple[MatchRow, ...], note: str) -> None:
        """Show these matches; the chosen one stays chosen if it is still there.

        Args:
            rows: Nearest first.
            note: What to say besides, such as that nothing was found.
        """
        chosen = self.delegate.selected
        self.model.set_rows(rows)
        same = [row for row in rows if chosen is not None and row.match is chosen.match]
        self._select(same[0] if same else None)
        self.list.setVisible(bool(rows))
        self.note.setText(note or ("" if self.store.text() else _EMPTY))
        self.note.setVisible(bool(self.note.text()))

    def set_ready(self, *, ready: bool, busy: bool) -> None:
        """Enable what can be done now.

        Args:
            ready: Whether there is a CT.
            busy: Whether other work is running.
        """
        self._ready, self._busy = ready, busy
        self._refresh()

    def set_stores(self, names: Sequence[str]) -> None:
        """Offer the stores of the server that runs the model; the first is taken where none was chosen.

        Args:
            names: Their names; none for a model in this process.
        """
        if tuple(names) == self._offered:
            return
        hint = f"Folder of a case store, or of the server: {', '.join(names)}" if names else _STORE_HINT
        self.store.setPlaceholderText(hint)
        self.store.setCompleter(QCompleter(list(names), self.store))
        offered, self._offered = self._offered, tuple(names)
        if self.store.text() in offered and self.store.text() not in names:
            self.store.clear()
        if names and not self.store.text():
            self.store.setText(names[0])
        self._on_store()

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self.list.set_colors(colors)

    def _dress(self) -> None:
        self.browse.setToolTip("Choose the folder of a case store")
        self.similar.setToolTip("List the cases that are most like this scan")
        self.region.setToolTip("List the cases with a place most like the drawn shape or the selected label")
        self.ask.setToolTip("List the cases whose images show this (Enter)")
        self.open.setToolTip("Open the scan beside this one; both move together (double click)")
        self.note.setProperty("kind", "muted")
        self.note.setWordWrap(True)
        self.report.setReadOnly(True)
        self.report.setFixedHeight(_REPORT_HEIGHT)
        self.report.setAccessibleName("Report of the chosen case")

    def _connect(self) -> None:
        self.store.editingFinished.connect(self._on_store)
        self.browse.clicked.connect(self._browse)
        self.similar.clicked.connect(self.similar_clicked)
        self.region.clicked.connect(self.region_clicked)
        self.phrase.returnPressed.connect(self._search)
        self.ask.clicked.connect(self._search)
        self.list.chosen.connect(self._select)
        self.list.doubleClicked.connect(lambda _index: self.open.click())
        self.open.clicked.connect(lambda: self.open_clicked.emit(self.delegate.selected))

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widgets in ((self.store, self.browse), (self.similar, self.region), (self.phrase, self.ask)):
            row = QHBoxLayout()
            row.setSpacing(6)
            row.addWidget(widgets[0], 1)
            row.addWidget(widgets[1], 1 if widgets[0] is self.similar else 0)
            layout.addLayout(row)
        layout.addWidget(self.note)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.report)
        layout.addWidget(self.open)

    def _on_store(self) -> None:
        self.store_chosen.emit(self.store.text().strip())
        self._refresh()

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Case store")
        if folder:
            self.store.setText(folder)
            self._on_store()

    def _search(self) -> None:
        if self.ask.isEnabled() and self.phrase.text().strip():
            self.searched.emit(self.phrase.text().strip())

    def _select(self, row: MatchRow | None) -> None:
        self.delegate.selected = row
        self.report.setPlainText(row.match.report or "No report is stored." if row is not None else "")
        self.report.setVisible(row is not None)
        self.open.setVisible(bool(self.model.rows))
        self.list.viewport().update()
        self._refresh()

    def _refresh(self) -> None:
        searchable = bool(self.store.text().strip()) and not self._busy
        self.similar.setEnabled(searchable and self._ready)
        self.region.setEnabled(searchable and self._ready)
        self.ask.setEnabled(searchable)
        self.open.setEnabled(self.delegate.selected is not None and not self._busy)


def _field(hint: str, name: str) -> QLineEdit:
    field = QLineEdit()
    field.setPlaceholderText(hint)
    field.setAccessibleName(name)
    return field


def _paint_picture(painter: QPainter, area: QRectF, png: bytes | None) -> None:
    """Paint a PNG as large as fits, in its own proportions."""
    picture = QImage.fromData(png) if png else QImage()
    if picture.isNull():
        return
    size = picture.size().scaled(area.size().toSize(), Qt.AspectRatioMode.KeepAspectRatio)
    left = area.left() + (area.width() - size.width()) / 2
    top = area.top() + (area.height() - size.height()) / 2
    painter.drawImage(QRectF(left, top, size.width(), size.height()), picture)


def _speak(row: MatchRow) -> str:
    return f"{row.name}, distance {row.match.distance:.3f}, shared findings: {', '.join(row.shared) or 'none'}"


def _describe(row: MatchRow) -> str:
    match = row.match
    place = f"\nNearest place: {match.place.name}" if match.place is not None and match.place.name else ""
    return (
        f"{match.case}\nCosine distance {match.distance:.4f}: ranks cases, is no probability{place}\n"
        f"Shared with this scan: {', '.join(row.shared) or 'nothing known'}\n"
        f"Not seen here: {', '.join(row.other) or 'nothing'}\n{match.path}"
    )
