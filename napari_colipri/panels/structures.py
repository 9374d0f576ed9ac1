"""The structures panel: outline button, and each structure with an eye, its colour and its volume."""

from __future__ import annotations

from qtpy.QtCore import QPointF
from qtpy.QtCore import QRectF
from qtpy.QtCore import Qt
from qtpy.QtCore import Signal
from qtpy.QtGui import QColor
from qtpy.QtGui import QMouseEvent
from qtpy.QtGui import QPainter
from qtpy.QtGui import QPainterPath
from qtpy.QtGui import QPen
from qtpy.QtWidgets import QCheckBox
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QSlider
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from napari_colipri.panels.rows import ROW_ROLE
from napari_colipri.panels.rows import RowDelegate
from napari_colipri.panels.rows import RowList
from napari_colipri.panels.rows import RowModel
from napari_colipri.results import StructureRow
from napari_colipri.style import Colors

_EYE_WIDTH = 30
_LOWEST_OPACITY = 50


class StructureDelegate(RowDelegate):
    """Eye, colour, name and volume of a structure."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: frozenset[int] = frozenset()

    def paint_row(self, painter: QPainter, area: QRectF, row: StructureRow) -> None:
        """Paint eye, colour, name and volume."""
        assert self.colors is not None
        found, shown = row.center is not None, row.label not in self.hidden
        color = self.colors.text if found and shown else self.colors.muted
        if found:
            _paint_eye(painter, QPointF(area.left() + _EYE_WIDTH / 2, area.center().y()), color, open_=shown)
        swatch = QRectF(area.left() + _EYE_WIDTH, area.center().y() - 6, 12, 12)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(*row.color, 255 if shown and found else 90))
        painter.drawRoundedRect(swatch, 3, 3)
        volume = _volume_text(row)
        volume_width = painter.fontMetrics().horizontalAdvance(volume) + 4
        value = area.adjusted(area.width() - volume_width - 6, 0, -6, 0)
        name = area.adjusted(_EYE_WIDTH + 20, 0, -(area.right() - value.left()) - 8, 0)
        self.text(painter, name, row.name, color)
        self.text(painter, value, volume, self.colors.muted, right=True)


class StructureList(RowList):
    """A list whose eyes toggle with the mouse."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """A click on the eye toggles, anywhere else chooses."""
        index = self.indexAt(event.position().toPoint())
        if index.isValid() and event.position().x() < self.visualRect(index).left() + _EYE_WIDTH:
            self.toggled.emit(index.data(ROW_ROLE))
            return
        super().mouseReleaseEvent(event)


class StructuresPanel(QWidget):
    """Outlined structures of the current case.

    Signals:
        outline_clicked(): The button was pressed.
        chosen(object): A row was clicked: go to the structure.
        toggled(object): The eye of a row was clicked.
        opacity_changed(float): New opacity in [0.5, 1].
        fill_changed(bool): Whether to fill the outlines.
    """

    outline_clicked = Signal()
    chosen = Signal(object)
    toggled = Signal(object)
    opacity_changed = Signal(float)
    fill_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.outline = QPushButton("Outline structures")
        self.outline.setToolTip("Outline the organs this model knows")
        self.outline.clicked.connect(self.outline_clicked)
        self.fill = QCheckBox("Filled")
        self.fill.setToolTip("Fill the structures instead of drawing their outlines")
        self.fill.toggled.connect(self.fill_changed)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(_LOWEST_OPACITY, 100)
        self.opacity.setValue(70)
        self.opacity.setToolTip("Opacity of the structures")
        self.opacity.setAccessibleName("Opacity of the structures")
        self.opacity.valueChanged.connect(lambda value: self.opacity_changed.emit(value / 100))
        self.model = RowModel(_describe, lambda row: f"{row.name}, {_volume_text(row)}")
        self.delegate = StructureDelegate()
        self.list = StructureList(self.model, self.delegate, "Structures")
        self.list.chosen.connect(self.chosen)
        self.list.toggled.connect(self.toggled)
        self._lay_out()

    def set_rows(self, rows: tuple[StructureRow, ...], hidden: frozenset[int]) -> None:
        """Show these structures.

        Args:
            rows: The structures.
            hidden: Labels that are not shown.
        """
        self.delegate.hidden = hidden
        if rows != self.model.rows:
            self.model.set_rows(rows)
        self.list.setVisible(bool(rows))
        self.controls.setVisible(bool(rows))
        self.list.viewport().update()

    def set_colors(self, colors: Colors) -> None:
        """Repaint with a theme's colours.

        Args:
            colors: The colours.
        """
        self.list.set_colors(colors)

    def _lay_out(self) -> None:
        self.controls = QWidget()
        row = QHBoxLayout(self.controls)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        label = QLabel("Opacity")
        label.setProperty("kind", "field")
        row.addWidget(self.fill)
        row.addStretch(1)
        row.addWidget(label)
        row.addWidget(self.opacity, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.outline)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.controls)
        self.list.hide()
        self.controls.hide()


def _volume_text(row: StructureRow) -> str:
    if row.center is None:
        return "not found"
    return f"{row.volume_ml:,.0f} mL" if row.volume_ml >= 10 else f"{row.volume_ml:.1f} mL"


def _describe(row: StructureRow) -> str:
    code = f" ({row.code})" if row.code else ""
    return f"{row.name}{code}: {_volume_text(row)}\nClick: go to it. Eye or Space: show or hide."


def _paint_eye(painter: QPainter, center: QPointF, color: QColor, *, open_: bool) -> None:
    path = QPainterPath(center + QPointF(-7, 0))
    path.quadTo(center + QPointF(0, -8), center + QPointF(7, 0))
    path.quadTo(center + QPointF(0, 8), center + QPointF(-7, 0))
    painter.setPen(QPen(color, 1.3))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPath(path)
    if open_:
        painter.setBrush(color)
        painter.drawEllipse(center, 2.2, 2.2)
    else:
        painter.drawLine(center + QPointF(-6, 5), center + QPointF(6, -5))
