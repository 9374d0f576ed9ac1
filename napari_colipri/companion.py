"""A second view beside the viewer that shows a match, moved together with the current case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QCheckBox
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from napari_colipri.linked import LinkedViews
from napari_colipri.linked import Side
from napari_colipri.reader import layer_data
from napari_colipri.readout import Readout
from napari_colipri.similar import OpenedMatch

if TYPE_CHECKING:
    import napari.viewer

_WIDTH = 420


class Companion(QWidget):
    """The scan of a match, with its own slices, window and zoom.

    Args:
        viewer: The viewer of the current case.
        opened: The match.
    """

    def __init__(self, viewer: napari.viewer.Viewer, opened: OpenedMatch) -> None:
        super().__init__()
        self.setMinimumWidth(_WIDTH)
        self.model = ViewerModel(title=opened.match.case)
        data, attributes, _ = layer_data(opened.volume)
        self.layer = self.model.add_image(data, **attributes)
        self.links: LinkedViews | None = None
        self.readout = Readout(self.model)
        self.readout.follow(self.layer)
        self.linked = QCheckBox("Move together")
        self.linked.setToolTip("Off: move each by itself. On again: what both show now is taken as the same place")
        self.status = QLabel()
        self.status.setProperty("kind", "muted")
        self.model.events.status.connect(self._on_status)
        self.canvas = QtViewer(self.model)
        self._lay_out(opened)
        self._link(viewer, opened)

    def shutdown(self) -> None:
        """Let both viewers go; safe to call twice."""
        if self.links is not None:
            self.links.close()
            self.links = None
            self.linked.setEnabled(False)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Closing the view lets the viewer go."""
        self.shutdown()
        self.readout.close()
        self.canvas.close()
        super().closeEvent(event)

    def _lay_out(self, opened: OpenedMatch) -> None:
        title = QLabel(f"{opened.match.case}  (distance {opened.match.distance:.3f})")
        title.setToolTip(opened.match.path)
        top = QHBoxLayout()
        top.addWidget(title, 1)
        top.addWidget(self.linked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(top)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.status)

    def _link(self, viewer: napari.viewer.Viewer, opened: OpenedMatch) -> None:
        place = opened.match.place
        there = Side(self.model, self.layer, place.center_ras if place is not None else None)
        if opened.layer is None or opened.layer not in viewer.layers:
            self.linked.setEnabled(False)
            there.go_to(there.anchor)
            return
        self.layer.contrast_limits_range = opened.layer.contrast_limits_range
        self.layer.contrast_limits = opened.layer.contrast_limits
        here = Side(viewer, opened.layer, opened.region.center_ras if opened.region is not None else None)
        self.links = LinkedViews(here, there)
        self.linked.setChecked(True)
        self.linked.toggled.connect(self.links.set_linked)
        if opened.region is not None:
            here.go_to(here.anchor)
        elif place is not None:
            there.go_to(there.anchor)

    def _on_status(self) -> None:
        self.status.setText(str(self.model.status))
