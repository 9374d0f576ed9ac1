"""Two viewers moved together: the same place in two patients, in true millimetres.

Two scans share no coordinates. They are linked by a pair of anchors, one place in each that is taken to be the same:
the centres of two regions that were matched, or the middles of the two scans. A step or the mouse in one viewer then
goes to the anchor of the other plus the same offset in RAS+ mm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_colipri import navigation
from napari_colipri.source import layer_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.components
    from napari.layers import Image
    from napari.layers import Points

MARKER = "linked cursor"
_MARKER_MM = 10.0
_MARKER_COLOR = "#f98e09"
_MM = ("mm", "mm", "mm")


class Side:
    """One of the two viewers.

    Args:
        viewer: The viewer.
        layer: Its CT.
        anchor_ras: The place that is the same in the other, RAS+ mm; None for the middle of the CT.
    """

    def __init__(
        self, viewer: napari.components.ViewerModel, layer: Image, anchor_ras: npt.ArrayLike | None = None
    ) -> None:
        self.viewer = viewer
        self.layer = layer
        self._grid = layer_grid(layer)
        self.anchor = np.asarray(self._grid.geometry.center if anchor_ras is None else anchor_ras, dtype=np.float64)
        self._marker: Points | None = None

    def ras_at(self, position: Sequence[float]) -> npt.NDArray[np.float64]:
        """True RAS+ mm of a viewer position."""
        return self._grid.layer_to_ras(navigation.viewer_to_layer(self.viewer, self.layer, position))

    def position_of(self, ras: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Viewer position of a place in RAS+ mm."""
        return navigation.layer_to_viewer(self.viewer, self.layer, self._grid.ras_to_layer(ras))

    def go_to(self, ras: npt.ArrayLike) -> None:
        """Slice through a place."""
        first = self.viewer.dims.ndim - 3
        self.viewer.dims.set_point(range(first, first + 3), [float(value) for value in self.position_of(ras)])

    def mark(self, ras: npt.ArrayLike) -> None:
        """Show the cross at a place, on the slice in sight: linked slices are at the same depth."""
        position = self.position_of(ras)[None]
        sliced = self.viewer.dims.order[-3] - (self.viewer.dims.ndim - 3)
        position[:, sliced] = self.viewer.dims.point[self.viewer.dims.order[-3]]
        if self._marker is None or self._marker not in self.viewer.layers:
            active = self.viewer.layers.selection.active
            self._marker = self.viewer.add_points(
                position, name=MARKER, symbol="cross", size=_MARKER_MM, face_color=_MARKER_COLOR, units=_MM
            )
            self.viewer.layers.selection.active = active
        else:
            self._marker.data = position

    @property
    def is_there(self) -> bool:
        """Whether the CT is still in its viewer."""
        return self.layer in self.viewer.layers

    def unmark(self) -> None:
        """Take the cross away."""
        if self._marker is not None and self._marker in self.viewer.layers:
            self.viewer.layers.remove(self._marker)
        self._marker = None


class LinkedViews:
    """Moves two viewers together until it is closed.

    Args:
        main: The viewer of the current case.
        other: The viewer of the match.
    """

    def __init__(self, main: Side, other: Side) -> None:
        self.linked = True
        self._main = main
        self._other = other
        self._moving = False
        for side, slices, mouse in self._handlers():
            side.viewer.dims.events.point.connect(slices)
            side.viewer.mouse_move_callbacks.append(mouse)
            side.viewer.layers.events.removed.connect(self._on_removed)
        main.viewer.dims.events.order.connect(self._on_plane)
        self._on_plane()
        other.go_to(other.anchor + (main.ras_at(main.viewer.dims.point) - main.anchor))

    def set_linked(self, linked: bool) -> None:
        """Let the viewers go, or link them again by what both show now; nothing is linked once a CT is gone.

        Args:
            linked: Whether they move together.
        """
        linked = linked and self._both_there
        if linked and not self.linked:
            for side in (self._main, self._other):
                side.anchor = side.ras_at(side.viewer.dims.point)
        self.linked = linked
        if not linked:
            self._main.unmark()
            self._other.unmark()

    def close(self) -> None:
        """Let both viewers go; closing twice does nothing."""
        self.set_linked(False)
        for side, slices, mouse in self._handlers():
            side.viewer.dims.events.point.disconnect(slices)
            if mouse in side.viewer.mouse_move_callbacks:
                side.viewer.mouse_move_callbacks.remove(mouse)
            side.viewer.layers.events.removed.disconnect(self._on_removed)
        self._main.viewer.dims.events.order.disconnect(self._on_plane)

    def _handlers(self) -> tuple[tuple[Side, object, object], ...]:
        return (
            (self._main, self._on_main_slice, self._on_main_mouse),
            (self._other, self._on_other_slice, self._on_other_mouse),
        )

    @property
    def _both_there(self) -> bool:
        return self._main.is_there and self._other.is_there

    def _on_removed(self, event: object) -> None:
        """Without its CT a viewer shows no place that the other could go to, nor a cross."""
        if event.value in (self._main.layer, self._other.layer):  # type: ignore[attr-defined]
            self.set_linked(False)

    def _on_main_slice(self) -> None:
        self._follow(self._main, self._other)

    def _on_other_slice(self) -> None:
        self._follow(self._other, self._main)

    def _on_main_mouse(self, viewer: object, event: object) -> None:
        self._point(self._main, self._other)

    def _on_other_mouse(self, viewer: object, event: object) -> None:
        self._point(self._other, self._main)

    def _follow(self, leader: Side, follower: Side) -> None:
        with self._leading() as free:
            if free:
                follower.go_to(_across(leader, follower, leader.viewer.dims.point))

    def _point(self, leader: Side, follower: Side) -> None:
        with self._leading() as free:
            if free and leader.viewer.dims.ndisplay == 2:
                leader.unmark()
                follower.mark(_across(leader, follower, leader.viewer.cursor.position))

    def _on_plane(self) -> None:
        """The match is shown in the plane of the current case."""
        main, other = self._main.viewer, self._other.viewer
        order = [axis - (main.dims.ndim - 3) for axis in main.dims.order][-3:]
        if sorted(order) == [0, 1, 2] and other.dims.ndim == 3:
            other.dims.order = tuple(order)
            navigation.keep_head_up(other)
            other.reset_view()

    @contextlib.contextmanager
    def _leading(self) -> Iterator[bool]:
        """Whether the viewers are linked, both CTs are still there, and this is no echo of a move of our own."""
        if self._moving or not self.linked or not self._both_there:
            yield False
            return
        self._moving = True
        try:
            yield True
        finally:
            self._moving = False


def _across(leader: Side, follower: Side, position: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.asarray(follower.anchor + (leader.ras_at(position) - leader.anchor))
