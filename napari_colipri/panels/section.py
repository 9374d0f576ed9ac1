"""A titled part of the dock that folds away."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QSizePolicy
from qtpy.QtWidgets import QToolButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from napari_colipri.panels.draft_list import DraftList
from napari_colipri.panels.rows import RowList

_UNLIMITED = 16_777_215
"""Qt's own largest widget size."""


class Section(QWidget):
    """A header that folds its body, and a short summary at its right.

    Args:
        title: Text of the header.
        body: What folds away.
    """

    def __init__(self, title: str, body: QWidget) -> None:
        super().__init__()
        self.body = body
        self.header = QToolButton()
        self.header.setProperty("kind", "header")
        self.header.setText(title)
        self.header.setCheckable(True)
        self.header.setChecked(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setArrowType(Qt.ArrowType.DownArrow)
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.header.setAccessibleName(f"{title} section")
        self.header.toggled.connect(self._fold)
        self.summary = QLabel()
        self.summary.setProperty("kind", "muted")
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 4, 0)
        top.addWidget(self.header, 1)
        top.addWidget(self.summary)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(body, 1)

    def fit(self) -> None:
        """Be no higher than the content needs, so that other sections get the room."""
        lists = [rows for kind in (RowList, DraftList) for rows in self.body.findChildren(kind) if not rows.isHidden()]
        beyond = 0 if self.body.isHidden() else sum(rows.hidden_height for rows in lists)
        self.setMaximumHeight(_UNLIMITED)
        self.body.updateGeometry()
        self.setMaximumHeight(self.sizeHint().height() + beyond)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Fit what was laid out in the meantime."""
        super().showEvent(event)
        self.fit()

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Fit fonts and margins that a style sheet has changed."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self.fit()

    def _fold(self, unfolded: bool) -> None:
        self.body.setVisible(unfolded)
        self.header.setArrowType(Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow)
        self.fit()
