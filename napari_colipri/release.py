"""Letting go of the viewer: what a dock connected and bound is undone once, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    import napari.viewer

ViewerEvents = tuple[tuple[Any, Callable[[], None]], ...]
"""Emitters and what is connected to them."""


class Release:
    """Ends what a dock began, once, also when Qt has already deleted the dock.

    Args:
        viewer: The viewer.
        events: Emitters of the viewer and what was connected to them.
        closers: Called last.
        keys: Keys that were bound.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        events: ViewerEvents,
        closers: tuple[Callable[[], None], ...],
        *,
        keys: tuple[str, ...],
    ) -> None:
        self.done = False
        self._viewer = viewer
        self._events = events
        self._closers = closers
        self._keys = keys

    def __call__(self, *_: object) -> None:
        """Let go; a second call does nothing."""
        if self.done:
            return
        self.done = True
        for emitter, callback in self._events:
            emitter.disconnect(callback)
        for key in self._keys:
            self._viewer.bind_key(key, None)
        for closer in self._closers:
            closer()
        self._events = self._closers = ()
