"""Commands of the Layers menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari.viewer

PLUGIN = "napari-colipri"
WIDGET = "COLIPRI"


def open_dock(viewer: napari.viewer.Viewer) -> None:
    """Open the dock, or bring it to the front.

    Args:
        viewer: The viewer; napari passes it.
    """
    dock, _ = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    dock.show()
    dock.raise_()
