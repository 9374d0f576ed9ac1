"""Mouse and keys on the labels layer of a case, from when it is made until it goes or the dock closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Protocol

import numpy as np
from psygnal import SignalInstance

from colipri_core.editing.edits import Paint
from colipri_core.errors import ColipriError
from napari_colipri import navigation
from napari_colipri.label_layers import Sheet
from napari_colipri.strokes import stroke_edits
from napari_colipri.tools import BRUSH_TOOLS
from napari_colipri.tools import PROMPT_TOOLS
from napari_colipri.tools import Pen

if TYPE_CHECKING:
    import napari.components

KEYS = {
    "point": "P",
    "scribble": "S",
    "box": "B",
    "lasso": "L",
    "brush": "D",
    "eraser": "E",
    "sign": "T",
    "next": "N",
    "undo": "Control-Z",
    "redo": "Control-Shift-Z",
}
"""Action -> its key, heard while the labels layer is the active one."""


class Owner(Protocol):
    """What the canvas tells of what happens on it."""

    failed: SignalInstance

    def press(self, action: str, sheet: Sheet | None = None) -> None:
        """A key was pressed."""
        ...

    def tool_taken(self, sheet: Sheet, tool: str | None) -> None:
        """One of napari's own tools was taken."""
        ...

    def keep_stroke(self, sheet: Sheet, stroke: Paint) -> None:
        """One of napari's own tools painted."""
        ...

    def drawing(self, path: np.ndarray) -> None:
        """A prompt is being drawn."""
        ...

    def drawn(self, path: np.ndarray) -> None:
        """A prompt was drawn."""
        ...


class LabelCanvas:
    """Listens on one labels layer.

    Args:
        viewer: The viewer.
        sheet: The labels of a case.
        owner: Is told.

    Attributes:
        tool: What is in hand on this layer.
    """

    def __init__(self, viewer: napari.components.ViewerModel, sheet: Sheet, owner: Owner) -> None:
        self._viewer = viewer
        self._sheet = sheet
        self._labels = labels = sheet.labels
        self._owner = owner
        self.tool: str | None = None
        self._mode = str(labels.mode)
        self._pen = Pen(self._to_layer, owner.drawing, owner.drawn)
        labels.mouse_drag_callbacks.append(self._pen)
        labels.events.paint.connect(self._on_paint)
        labels.events.mode.connect(self._on_mode)
        for action, key in KEYS.items():
            labels.bind_key(key, self._key_action(action), overwrite=True)

    def take(self, tool: str | None) -> None:
        """Make the mouse what a tool needs.

        Args:
            tool: A tool, or None to move the view.
        """
        self.tool = tool
        self._pen.enabled = tool in PROMPT_TOOLS
        self._mode = BRUSH_TOOLS.get(tool or "", "pan_zoom")
        self._labels.mode = self._mode
        self._labels.mouse_pan = tool is None

    def close(self) -> None:
        """Let go of mouse and keys."""
        labels = self._labels
        labels.events.paint.disconnect(self._on_paint)
        labels.events.mode.disconnect(self._on_mode)
        labels.mouse_drag_callbacks.remove(self._pen)
        labels.mouse_pan = str(labels.mode) == "pan_zoom"
        for key in KEYS.values():
            labels.bind_key(key, None)

    def _key_action(self, action: str) -> Callable[[object], None]:
        def press(_layer: object) -> None:
            try:
                self._owner.press(action, self._sheet)
            except ColipriError as error:
                self._owner.failed.emit(error)

        return press

    def _on_paint(self, event: object) -> None:
        for stroke in stroke_edits(event.value, self._sheet.case.source.grid):  # type: ignore[attr-defined]
            self._owner.keep_stroke(self._sheet, stroke)

    def _on_mode(self, event: object) -> None:
        mode = str(event.mode)  # type: ignore[attr-defined]
        if mode != self._mode:
            self._mode, self._pen.enabled = mode, False
            self.tool = next((tool for tool, name in BRUSH_TOOLS.items() if name == mode), None)
            self._owner.tool_taken(self._sheet, self.tool)

    def _to_layer(self, position: object) -> np.ndarray:
        return navigation.viewer_to_layer(self._viewer, self._labels, position)  # type: ignore[arg-type]
