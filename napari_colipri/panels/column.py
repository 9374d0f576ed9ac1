"""The column of the dock: its parts one below the other, in a window of any height."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame
from qtpy.QtWidgets import QScrollArea
from qtpy.QtWidgets import QSizePolicy
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget


def scrolled(*parts: tuple[QWidget, int]) -> QScrollArea:
    """Return widgets with their stretch, one below the other; what the window has no room for is scrolled to."""
    inside = QWidget()
    column = QVBoxLayout(inside)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(8)
    for widget, stretch in parts:
        column.addWidget(widget, stretch)
    column.addWidget(_filler())
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidgetResizable(True)
    area.setWidget(inside)
    return area


def _filler() -> QWidget:
    """Takes the room nobody needs; a widget, because napari adds a stretch of its own unless one expands."""
    filler = QWidget()
    filler.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
    return filler


def rule() -> QFrame:
    """Return a line across."""
    rule = QFrame()
    rule.setProperty("kind", "rule")
    return rule
