"""Mouse and keys on the labels layer of a case, from when it is made until it goes or the dock closes."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
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

_HOLD_KEY = "Space"
"""Moves the view while it is held, as in napari's own modes."""


class Owner(Protocol):
    """What the canvas tells of what happens on it."""

    failed: SignalInstance
    changed: SignalInstance

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
        labels.events.selected_label.connect(self._on_selected)
        viewer.dims.events.ndisplay.connect(self._free_view)
        labels.bind_key(_HOLD_KEY, self._hold, overwrite=True)
        for action, key in KEYS.items():
            labels.bind_key(key, self._key_action(action), overwrite=True)

    def take(self, tool: str | None) -> None:
        """Make the mouse what a tool needs.

        Args:
            tool: A tool, or None to move the view.
        """
        self.tool = tool
        if tool == "brush":
            self._sheet.choose(self._sheet.current)  # napari's keys may have left the background selected
        self._set(BRUSH_TOOLS.get(tool or "", "pan_zoom"), drawing=tool in PROMPT_TOOLS)

    def close(self) -> None:
        """Let go of mouse and keys."""
        labels, self.tool = self._labels, None
        labels.events.paint.disconnect(self._on_paint)
        labels.events.mode.disconnect(self._on_mode)
        labels.events.selected_label.disconnect(self._on_selected)
        self._viewer.dims.events.ndisplay.disconnect(self._free_view)
        labels.mouse_drag_callbacks.remove(self._pen)
        labels.mouse_pan = str(labels.mode) == "pan_zoom"
        for key in (*KEYS.values(), _HOLD_KEY):
            labels.bind_key(key, None)

    def _set(self, mode: str, *, drawing: bool) -> None:
        self._mode, self._pen.enabled = mode, drawing
        self._labels.mode = mode
        self._free_view()

    def _free_view(self) -> None:
        """Let the mouse move the view unless it draws; prompts are drawn on slices, never in 3D."""
        draws = self._pen.enabled and self._viewer.dims.ndisplay == 2
        self._labels.mouse_pan = self._mode == "pan_zoom" and not draws

    def _hold(self, _layer: object) -> Iterator[None]:
        """Napari calls this when the key is pressed, and goes on behind the yield when it is released."""
        tool, mode, drawing = self.tool, self._mode, self._pen.enabled
        self._set("pan_zoom", drawing=False)
        yield
        if self.tool == tool:
            self._set(mode, drawing=drawing)

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

    def _on_selected(self) -> None:
        """Napari's keys and controls choose the object as well; 0, with which its brush erases, is none."""
        label = int(self._labels.selected_label)
        if label not in (0, self._sheet.current):
            self._sheet.current = label
            self._owner.changed.emit()

    def _to_layer(self, position: object) -> np.ndarray:
        return navigation.viewer_to_layer(self._viewer, self._labels, position)  # type: ignore[arg-type]
