"""True RAS millimetres and HU under the mouse, in napari's status line.

napari computes its status on another thread after each mouse move and then sets `viewer.status`. The readout answers
that event, and the mouse move itself: it puts true patient coordinates in the place of napari's own, which for an
oblique volume are those of the straightened display.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_colipri import navigation
from napari_colipri.geometry import LayerGrid
from napari_colipri.source import base_level
from napari_colipri.source import layer_grid
from napari_colipri.source import layer_source

if TYPE_CHECKING:
    import napari.components
    from napari.layers import Image


def format_ras(point: npt.ArrayLike) -> str:
    """Write a RAS+ point as signed millimetres.

    Args:
        point: RAS+ mm (3,).

    Examples:
        >>> format_ras((-12.34, 5.0, -100.06))
        'R -12.3  A 5.0  S -100.1 mm'
    """
    values = np.asarray(point, dtype=np.float64)
    return "  ".join(f"{axis} {value:.1f}" for axis, value in zip("RAS", values, strict=True)) + " mm"


class Readout:
    """Keeps the status line true for one CT layer.

    Args:
        viewer: The viewer.
    """

    def __init__(self, viewer: napari.components.ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self._grid: LayerGrid | None = None
        self._frame: dict[str, str] | None = None
        self._writing = False
        viewer.events.status.connect(self._on_status)
        viewer.mouse_move_callbacks.append(self._on_move)

    def follow(self, layer: Image | None) -> None:
        """Read from this CT layer from now on.

        Args:
            layer: The layer, None to leave the status line to napari.
        """
        self._layer = layer
        self._grid = layer_grid(layer) if layer is not None else None

    def text_at(self, position: Sequence[float]) -> str | None:
        """Coordinates and intensity at a viewer position; None when no CT is followed or the view is 3D.

        Args:
            position: Viewer world position; its last three axes count.
        """
        layer, grid = self._layer, self._grid
        if layer is None or grid is None or self._viewer.dims.ndisplay == 3 or len(position) < 3:
            return None
        index = navigation.viewer_to_layer(self._viewer, layer, position)
        text = format_ras(grid.layer_to_ras(index))
        voxel = np.round(index).astype(int)
        if (voxel < 0).any() or (voxel >= grid.layer_shape).any():
            return f"{text}  outside"
        source = layer_source(layer)
        unit = " HU" if source is None or source.unit == "HU" else ""
        return f"{text}  {float(np.asarray(base_level(layer)[tuple(voxel)])):.0f}{unit}"

    def close(self) -> None:
        """Give the status line back to napari."""
        self._viewer.events.status.disconnect(self._on_status)
        if self._on_move in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._on_move)
        self._layer = self._grid = None

    def _on_move(self, viewer: napari.components.ViewerModel, event: object) -> None:
        self._write(self._frame)

    def _on_status(self) -> None:
        if not self._writing:
            status = self._viewer.status
            self._frame = dict(status) if isinstance(status, dict) else None
            self._write(self._frame)

    def _write(self, frame: dict[str, str] | None) -> None:
        text = self.text_at(self._viewer.cursor.position)
        if text is None:
            return
        self._writing = True
        try:
            self._viewer.status = text if frame is None else self._with_layer(text, frame)
        finally:
            self._writing = False

    def _with_layer(self, text: str, frame: dict[str, str]) -> str:
        """Name the active layer, and what it says here if it is not the CT itself."""
        active = self._viewer.layers.selection.active
        value = "" if active == self._layer else frame.get("value", "")
        return "   ".join(part for part in (frame.get("layer_name", ""), text, value) if part)
