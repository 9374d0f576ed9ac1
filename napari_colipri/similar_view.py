"""The Similar panel on a viewer: its buttons, its results, and the view that opens beside the viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget
from qtpy.QtWidgets import QMainWindow

from napari_colipri.companion import Companion
from napari_colipri.panels.section import Section
from napari_colipri.panels.similar import SimilarPanel
from napari_colipri.similar import OpenedMatch
from napari_colipri.similar import SimilarCases

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QWidget

_DOCK_NAME = "Similar case"


class SimilarView:
    """Ties panel, searches and second view together.

    Args:
        viewer: The viewer.
        cases: The searches.
        attempt: Runs an action and shows its error.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, cases: SimilarCases, attempt: Callable[[Callable[[], object]], None]
    ) -> None:
        self.panel = SimilarPanel()
        self.section = Section("Similar cases", self.panel)
        self.section.header.setChecked(False)
        self.cases = cases
        self.companion: Companion | None = None
        self._viewer = viewer
        panel = self.panel
        panel.store_chosen.connect(cases.choose_store)
        panel.similar_clicked.connect(lambda: attempt(cases.find))
        panel.region_clicked.connect(lambda: attempt(lambda: cases.find(by_region=True)))
        panel.searched.connect(lambda phrase: attempt(lambda: cases.search(phrase)))
        panel.open_clicked.connect(lambda row: attempt(lambda: cases.open(row)))
        cases.found.connect(self._on_found)
        cases.opened.connect(self._on_opened)

    def close(self) -> None:
        """Let go of the viewer and the store."""
        self.cases.found.disconnect(self._on_found)
        self.cases.opened.disconnect(self._on_opened)
        self.cases.close()
        self._remove_companion()

    def _on_found(self) -> None:
        self.panel.set_rows(self.cases.rows, self.cases.note)
        self.section.summary.setText(f"{len(self.cases.rows)} cases" if self.cases.rows else "")
        self.section.fit()

    def _on_opened(self, opened: OpenedMatch) -> None:
        """Show a match in the place of the one before."""
        self._remove_companion()
        self.companion = Companion(self._viewer, opened)
        window = getattr(self._viewer, "window", None)
        if window is not None:
            window.add_dock_widget(self.companion, name=_DOCK_NAME, area="right")
            _put_left_of(_dock_of(self.panel), _dock_of(self.companion))
        else:
            self.companion.show()

    def _remove_companion(self) -> None:
        if self.companion is None:
            return
        companion, self.companion = self.companion, None
        companion.close()
        window = getattr(self._viewer, "window", None)
        if window is not None and _DOCK_NAME in window.dock_widgets:
            window.remove_dock_widget(companion)
        companion.deleteLater()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock a widget is in."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def _put_left_of(panel: QDockWidget | None, view: QDockWidget | None) -> None:
    """Docks of one area are stacked; a second scan belongs beside the first, at full height."""
    main = view.parentWidget() if view is not None else None
    if panel is not None and isinstance(main, QMainWindow) and panel.parentWidget() is main:
        main.splitDockWidget(view, panel, Qt.Orientation.Horizontal)
