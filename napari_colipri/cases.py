"""The cases of a viewer's CT layers: begun when something is asked, dropped when their layer goes or changes. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_colipri.backend import ModelChoice
from napari_colipri.case import Case
from napari_colipri.source import LayerGrid
from napari_colipri.source import layer_grid
from napari_colipri.source import layer_source
from napari_colipri.source import read_case

if TYPE_CHECKING:
    import napari.components
    from napari.layers import Image

_PLACING = ("scale", "translate", "rotate", "shear", "affine", "units")
"""Events of a layer that tell of another place; "data" tells of other voxels."""


class Cases:
    """One case for each CT layer that something was asked about.

    Layers are compared with `==`: what napari hands to plugins are proxies, and two proxies of a layer are two objects.

    Args:
        viewer: The viewer.
        chosen: Says which model is chosen.

    Signals:
        dropped(Case): Its layer is gone from the viewer, or is no longer what the case was begun with.
        changed(object): A layer that is watched lies elsewhere, or has other voxels.
    """

    dropped = Signal(object)
    changed = Signal(object)

    def __init__(self, viewer: napari.components.ViewerModel, chosen: Callable[[], ModelChoice]) -> None:
        self._viewer = viewer
        self._chosen = chosen
        self._cases: dict[Image, Case] = {}
        self._watched: list[Image] = []
        viewer.layers.events.removed.connect(self._on_removed)

    def __iter__(self) -> Iterator[Case]:
        """The cases, oldest first."""
        return iter(tuple(self._cases.values()))

    def of(self, layer: Image | None) -> Case | None:
        """The case of a layer; None if nothing was asked about it.

        Args:
            layer: A CT layer.
        """
        return self._cases.get(layer) if layer is not None else None

    def holds(self, case: Case) -> bool:
        """Whether a case still stands for its layer.

        Args:
            case: The case.
        """
        return self.of(case.layer) is case

    def open(self, layer: Image) -> Case:
        """The case of a layer, begun if there is none.

        Args:
            layer: A CT layer of the viewer.

        Raises:
            UnsupportedVolumeError: If the layer cannot be taken as a CT.
        """
        case = self.of(layer)
        if case is None:
            source = layer_source(layer)
            edits = source.project.edits if source is not None and source.project is not None else None
            case = Case(layer=layer, source=read_case(layer), chosen=self._chosen, edits=edits)
            self._cases[layer] = case
            self.watch(layer)
        return case

    def watch(self, layer: Image) -> None:
        """Tell of changes of a layer from now on.

        Args:
            layer: A CT layer of the viewer.
        """
        if layer in self._watched:
            return
        self._watched.append(layer)
        for name in _PLACING:
            layer.events[name].connect(self._on_moved)
        layer.events.data.connect(self._on_data)

    def close(self) -> None:
        """Let go of viewer and layers."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in tuple(self._watched):
            self._leave(layer)
        self._cases.clear()

    def _leave(self, layer: Image) -> None:
        self._watched.remove(layer)
        for name in _PLACING:
            layer.events[name].disconnect(self._on_moved)
        layer.events.data.disconnect(self._on_data)

    def _on_removed(self, event: object) -> None:
        removed = event.value  # type: ignore[attr-defined]
        if removed in self._watched:
            self._leave(removed)
        self._drop(removed)

    def _on_moved(self, event: object) -> None:
        layer = event.source  # type: ignore[attr-defined]
        case = self.of(layer)
        if case is not None and not _lies_at(layer, case.source.grid):
            self._drop(layer)
        self.changed.emit(layer)

    def _on_data(self, event: object) -> None:
        layer = event.source  # type: ignore[attr-defined]
        self._drop(layer)
        self.changed.emit(layer)

    def _drop(self, layer: Image) -> None:
        case = self._cases.pop(layer, None)
        if case is not None:
            self.dropped.emit(case)


def _lies_at(layer: Image, grid: LayerGrid) -> bool:
    try:
        now = layer_grid(layer)
    except ValueError:  # a transform that cannot be inverted
        return False
    return (now.geometry, now.axes, now.flips) == (grid.geometry, grid.axes, grid.flips)
