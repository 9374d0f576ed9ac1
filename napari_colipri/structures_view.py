"""The Structures panel on a viewer: its rows, which of them are shown, and how their layer is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_colipri import layers as result_layers
from napari_colipri import navigation
from napari_colipri.panels.section import Section
from napari_colipri.panels.structures import StructuresPanel
from napari_colipri.results import StructureRow

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_colipri.workflow import Workflow


class StructuresView:
    """Ties panel, outlining and layer together.

    Args:
        workflow: Outlines, and knows the current case.
        attempt: Runs an action and shows its error.
    """

    def __init__(self, workflow: Workflow, attempt: Callable[[Callable[[], object]], None]) -> None:
        self.panel = StructuresPanel()
        self.section = Section("Structures", self.panel)
        self._workflow = workflow
        self._drawn: Labels | None = None
        panel = self.panel
        panel.outline_clicked.connect(lambda: attempt(workflow.outline))
        panel.chosen.connect(self.go_to)
        panel.toggled.connect(self.toggle)
        panel.opacity_changed.connect(lambda _opacity: self._draw())
        panel.fill_changed.connect(lambda _filled: self._draw())
        workflow.structures_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the structures of the chosen CT; a layer that was not shown before is drawn as the panel says."""
        case = self._workflow.case
        rows = case.structures if case is not None else ()
        self.panel.set_rows(rows, case.hidden if case is not None else frozenset())
        model = case.structures_model if case is not None else None
        self.section.summary.setText(f"{len(rows)} structures, {model.name}" if rows and model is not None else "")
        self.section.fit()
        labels = case.labels if case is not None else None
        if labels != self._drawn:
            self._drawn = labels
            self._draw()

    def toggle(self, row: StructureRow) -> None:
        """Show a structure, or hide it.

        Args:
            row: The structure.
        """
        case = self._workflow.case
        if case is not None and case.labels is not None:
            from napari.utils.colormaps import DirectLabelColormap

            case.hidden = case.hidden ^ {row.label}
            colors = result_layers.structure_colors(case.structures, case.hidden)
            case.labels.colormap = DirectLabelColormap(color_dict=colors)
            self.refresh()

    def go_to(self, row: StructureRow) -> None:
        """Slice through the midst of a structure and make it visible.

        Args:
            row: The structure.
        """
        case = self._workflow.case
        if case is not None and row.center is not None:
            if row.label in case.hidden:
                self.toggle(row)
            navigation.go_to(self._workflow.viewer, case.layer, row.center)

    def _draw(self) -> None:
        if self._drawn is not None:
            self._drawn.opacity = self.panel.opacity.value() / 100
            self._drawn.contour = 0 if self.panel.fill.isChecked() else result_layers.outline_width(self._drawn)
