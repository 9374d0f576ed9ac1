"""The list of a draft's sentences: wrapped text, flags in colour and words, editing in place."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractItemModel
from qtpy.QtCore import QEvent
from qtpy.QtCore import QModelIndex
from qtpy.QtCore import QObject
from qtpy.QtCore import QRectF
from qtpy.QtCore import QSize
from qtpy.QtCore import Qt
from qtpy.QtCore import Signal
from qtpy.QtGui import QColor
from qtpy.QtGui import QFontMetrics
from qtpy.QtGui import QKeyEvent
from qtpy.QtGui import QPainter
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QListView
from qtpy.QtWidgets import QPlainTextEdit
from qtpy.QtWidgets import QStyle
from qtpy.QtWidgets import QStyledItemDelegate
from qtpy.QtWidgets import QStyleOptionViewItem
from qtpy.QtWidgets import QWidget

from colipri_core.listing import DraftRow
from napari_colipri.panels.rows import ROW_ROLE
from napari_colipri.panels.rows import ListModel
from napari_colipri.style import Colors
from napari_colipri.style import blend

_PADDING = 5
_MARGIN = 10
_LOWEST, _HIGHEST = 110, 900
_EDITOR_LINES = 3


class DraftModel(ListModel):
    """Rows of a draft.

    Signals:
        edited(object, str): A sentence was given other words: its position and the words.
    """

    edited = Signal(object, str)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What Qt asks of a row."""
        row = self.row_at(index)
        if row is None:
            return None
        answers = {
            int(Qt.ItemDataRole.DisplayRole): row.text,
            int(Qt.ItemDataRole.EditRole): row.text,
            int(Qt.ItemDataRole.ToolTipRole): "\n".join(row.details),
            int(Qt.ItemDataRole.AccessibleTextRole): f"{row.text} {row.flags}".strip(),
            int(ROW_ROLE): row,
        }
        return answers.get(int(role))

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:  # noqa: N802
        """Say that a sentence was given other words; who listens brings the new rows."""
        row = self.rows[index.row()]
        if row.position is None or int(role) != int(Qt.ItemDataRole.EditRole) or str(value) == row.text:
            return False
        self.edited.emit(row.position, str(value))
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Sentences can be edited, headings not even selected."""
        row = self.rows[index.row()]
        if row.is_heading:
            return Qt.ItemFlag.NoItemFlags
        editable = Qt.ItemFlag.NoItemFlags if row.position is None else Qt.ItemFlag.ItemIsEditable
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | editable


class DraftDelegate(QStyledItemDelegate):
    """Paints a sentence with its flags, and edits it in place: Enter keeps, Escape drops."""

    def __init__(self) -> None:
        super().__init__()
        self.colors: Colors | None = None
        self.shown: frozenset[str] = frozenset()
        self.width = 300

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:  # noqa: N802 - Qt's name
        """High enough for the wrapped text and the flags."""
        row = index.data(ROW_ROLE)
        metrics = _metrics(option, row)
        height = metrics.boundingRect(0, 0, self._text_width, 10_000, _WRAP, row.text).height() + 2 * _PADDING
        return QSize(self.width, height + (option.fontMetrics.height() + _PADDING if row.flags else 0))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Paint a row."""
        if self.colors is None:
            return
        row = index.data(ROW_ROLE)
        area = QRectF(option.rect).adjusted(2, 1, -2, -1)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_background(painter, area, row, option)
        font = option.font
        font.setBold(row.is_heading)
        painter.setFont(font)
        painter.setPen(self.colors.muted if row.is_heading else self.colors.text)
        text = area.adjusted(_MARGIN, _PADDING - 1, -_MARGIN, 0)
        painter.drawText(text, _WRAP, row.text)
        if row.flags:
            self._paint_flags(painter, area, row.flags)
        painter.restore()

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex) -> QWidget:  # noqa: N802
        """A small text field over the row."""
        editor = QPlainTextEdit(parent)
        editor.setTabChangesFocus(True)
        editor.setAccessibleName("Words of the sentence; Enter keeps them, empty removes the sentence")
        editor.setMinimumHeight(_EDITOR_LINES * option.fontMetrics.lineSpacing() + 2 * _PADDING)
        return editor

    def setEditorData(self, editor: QWidget, index: QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Begin with the sentence's words, all selected."""
        assert isinstance(editor, QPlainTextEdit)
        editor.setPlainText(str(index.data(Qt.ItemDataRole.EditRole)))
        editor.selectAll()

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: QModelIndex) -> None:  # noqa: N802
        """Hand the words over."""
        assert isinstance(editor, QPlainTextEdit)
        model.setData(index, editor.toPlainText(), Qt.ItemDataRole.EditRole)

    def eventFilter(self, editor: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Enter keeps the words; Shift+Enter would break a line, which a sentence does not have."""
        pressed = isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress
        if pressed and event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.commitData.emit(editor)
            self.closeEditor.emit(editor)
            return True
        return super().eventFilter(editor, event)

    @property
    def _text_width(self) -> int:
        return max(40, self.width - 2 * _MARGIN - 4)

    def _paint_background(self, painter: QPainter, area: QRectF, row: DraftRow, option: QStyleOptionViewItem) -> None:
        assert self.colors is not None
        painter.setPen(Qt.PenStyle.NoPen)
        color = self._background(row, option)
        if color is not None:
            painter.setBrush(color)
            painter.drawRoundedRect(area, 4, 4)
        if row.phrase in self.shown:
            painter.setBrush(self.colors.heat)
            painter.drawRoundedRect(QRectF(area.left(), area.top() + 3, 3, area.height() - 6), 1.5, 1.5)

    def _background(self, row: DraftRow, option: QStyleOptionViewItem) -> QColor | None:
        assert self.colors is not None
        if row.is_heading:
            return None
        if row.phrase in self.shown:
            return blend(self.colors.surface, self.colors.accent, 0.28)
        if option.state & QStyle.StateFlag.State_HasFocus:
            return blend(self.colors.surface, self.colors.accent, 0.14)
        if option.state & QStyle.StateFlag.State_MouseOver:
            return blend(self.colors.surface, self.colors.text, 0.08)
        return None

    def _paint_flags(self, painter: QPainter, area: QRectF, flags: str) -> None:
        """A chip below the sentence."""
        assert self.colors is not None
        metrics = painter.fontMetrics()
        words = metrics.elidedText(f"\u26a0 {flags}", Qt.TextElideMode.ElideRight, self._text_width - 8)
        height = metrics.height() + 2
        chip = QRectF(
            area.left() + _MARGIN - 4, area.bottom() - height - 2, metrics.horizontalAdvance(words) + 10, height
        )
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.colors.warning)
        painter.drawRoundedRect(chip, 4, 4)
        painter.setPen(self.colors.on_warning)
        painter.drawText(chip, int(Qt.AlignmentFlag.AlignCenter), words)


class DraftList(QListView):
    """The list itself.

    Args:
        model: The rows.
        delegate: How they look.

    Signals:
        chosen(object): A row was clicked, or Enter pressed on it.
        removed(object): Delete was pressed on a sentence: its position.
        escaped(): Escape.
    """

    chosen = Signal(object)
    removed = Signal(object)
    escaped = Signal()

    def __init__(self, model: DraftModel, delegate: DraftDelegate) -> None:
        super().__init__()
        self._delegate = delegate
        self.setModel(model)
        self.setItemDelegate(delegate)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setEditTriggers(QListView.EditTrigger.DoubleClicked | QListView.EditTrigger.EditKeyPressed)
        self.setAccessibleName("Draft report")
        self.setMinimumHeight(_LOWEST)
        self.clicked.connect(self._choose)

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self._delegate.colors = colors
        self.viewport().update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A few rows; layouts hand out the room beyond."""
        return QSize(super().sizeHint().width(), _LOWEST)

    @property
    def hidden_height(self) -> int:
        """Height in pixels that all rows would need beyond the size hint."""
        rows = range(self.model().rowCount())
        return min(_HIGHEST, sum(self.sizeHintForRow(row) for row in rows) + 2 * _PADDING) - _LOWEST

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Wrap the text anew."""
        self._delegate.width = self.viewport().width()
        self.scheduleDelayedItemsLayout()
        super().resizeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Enter shows the evidence, F2 edits, Delete removes, Escape lets go."""
        index = self.currentIndex()
        row = index.data(ROW_ROLE) if index.isValid() else None
        if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and row is not None:
            self.chosen.emit(row)
        elif event.key() == Qt.Key.Key_Delete and row is not None and row.position is not None:
            self.removed.emit(row.position)
        elif event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        else:
            super().keyPressEvent(event)

    def _choose(self, index: QModelIndex) -> None:
        row = index.data(ROW_ROLE)
        if row is not None and not row.is_heading:
            self.chosen.emit(row)


_WRAP = int(Qt.TextFlag.TextWordWrap | Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)


def _metrics(option: QStyleOptionViewItem, row: DraftRow) -> QFontMetrics:
    font = option.font
    font.setBold(row.is_heading)
    return QFontMetrics(font)
