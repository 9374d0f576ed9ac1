"""A list of rows painted by a delegate; findings and structures each say how theirs look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QAbstractListModel
from qtpy.QtCore import QModelIndex
from qtpy.QtCore import QRectF
from qtpy.QtCore import QSize
from qtpy.QtCore import Qt
from qtpy.QtCore import Signal
from qtpy.QtGui import QColor
from qtpy.QtGui import QKeyEvent
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QListView
from qtpy.QtWidgets import QSizePolicy
from qtpy.QtWidgets import QStyle
from qtpy.QtWidgets import QStyledItemDelegate
from qtpy.QtWidgets import QStyleOptionViewItem

from napari_colipri.style import Colors
from napari_colipri.style import blend

ROW_HEIGHT = 27
_MIN_ROWS = 6
_FRAME = 8
ROW_ROLE = Qt.ItemDataRole.UserRole


class ListModel(QAbstractListModel):
    """Rows of any dataclass; subclasses say what Qt is told of one.

    Attributes:
        rows: The rows, top first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[Any, ...] = ()

    def set_rows(self, rows: tuple[Any, ...]) -> None:
        """Replace all rows; the same ones leave selection, scroll position and an open editor alone.

        Args:
            rows: The new rows.
        """
        if rows == self.rows:
            return
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def row_at(self, index: QModelIndex) -> Any:
        """The row at an index; None beyond the last."""
        return self.rows[index.row()] if index.isValid() and index.row() < len(self.rows) else None


class RowModel(ListModel):
    """Rows that have a name.

    Args:
        describe: Row -> tooltip.
        speak: Row -> what a screen reader says.
    """

    def __init__(self, describe: Callable[[Any], str], speak: Callable[[Any], str]) -> None:
        super().__init__()
        self._describe = describe
        self._speak = speak

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What Qt asks of a row."""
        row = self.row_at(index)
        if row is None:
            return None
        answers: dict[int, Callable[[], Any]] = {
            int(Qt.ItemDataRole.DisplayRole): lambda: row.name,
            int(Qt.ItemDataRole.ToolTipRole): lambda: self._describe(row),
            int(Qt.ItemDataRole.AccessibleTextRole): lambda: self._speak(row),
            int(ROW_ROLE): lambda: row,
        }
        answer = answers.get(int(role))
        return answer() if answer is not None else None


class RowDelegate(QStyledItemDelegate):
    """Paints the background of a row; subclasses paint what is on it."""

    def __init__(self) -> None:
        super().__init__()
        self.colors: Colors | None = None

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:  # noqa: N802 - Qt's name
        """All rows are equally high."""
        return QSize(120, max(ROW_HEIGHT, option.fontMetrics.height() + 10))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Paint a row."""
        if self.colors is None:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(option.font)
        area = QRectF(option.rect).adjusted(2, 1, -2, -1)
        row = index.data(ROW_ROLE)
        background = self._background(option, row)
        if background is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(background)
            painter.drawRoundedRect(area, 4, 4)
        self.paint_row(painter, area, row)
        painter.restore()

    def paint_row(self, painter: QPainter, area: QRectF, row: Any) -> None:
        """Paint what a row says.

        Args:
            painter: Ready with font and antialiasing.
            area: Where the row is.
            row: The row.
        """
        raise NotImplementedError

    def is_marked(self, row: Any) -> bool:
        """Whether the row is emphasised.

        Args:
            row: The row.
        """
        return False

    def text(self, painter: QPainter, area: QRectF, text: str, color: QColor, *, right: bool = False) -> None:
        """Draw one line of text, elided to fit.

        Args:
            painter: The painter.
            area: Where.
            text: What.
            color: Its colour.
            right: Align at the right.
        """
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        fitting = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(area.width()))
        painter.setPen(color)
        painter.drawText(area, int(side | Qt.AlignmentFlag.AlignVCenter), fitting)

    def _background(self, option: QStyleOptionViewItem, row: Any) -> QColor | None:
        assert self.colors is not None
        if self.is_marked(row):
            return blend(self.colors.surface, self.colors.accent, 0.28)
        if option.state & QStyle.StateFlag.State_HasFocus:
            return blend(self.colors.surface, self.colors.accent, 0.14)
        if option.state & QStyle.StateFlag.State_MouseOver:
            return blend(self.colors.surface, self.colors.text, 0.08)
        return None


class RowList(QListView):
    """The list itself; says which row was chosen, toggled, or left with Escape.

    Args:
        model: The rows.
        delegate: How they look.
        name: What a screen reader calls the list.
    """

    chosen = Signal(object)
    toggled = Signal(object)
    escaped = Signal()

    def __init__(self, model: RowModel, delegate: RowDelegate, name: str) -> None:
        super().__init__()
        self._delegate = delegate
        self.setModel(model)
        self.setItemDelegate(delegate)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName(name)
        model.modelReset.connect(self._fit_height)
        self._fit_height()
        self.clicked.connect(lambda index: self.chosen.emit(index.data(ROW_ROLE)))

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self._delegate.colors = colors
        self.viewport().update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A few rows; layouts hand out the room beyond."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    @property
    def hidden_height(self) -> int:
        """Height in pixels that all rows would need beyond the size hint."""
        return self.maximumHeight() - self.minimumHeight()

    def _fit_height(self) -> None:
        rows = self.model().rowCount()
        row = self.sizeHintForRow(0) if rows else ROW_HEIGHT
        self.setMinimumHeight(min(_MIN_ROWS, max(1, rows)) * row + _FRAME)
        self.setMaximumHeight(max(1, rows) * row + _FRAME)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Enter chooses, Space toggles, Escape lets go."""
        row = self.currentIndex().data(ROW_ROLE) if self.currentIndex().isValid() else None
        if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and row is not None:
            self.chosen.emit(row)
        elif event.key() == Qt.Key.Key_Space and row is not None:
            self.toggled.emit(row)
        elif event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        else:
            super().keyPressEvent(event)
