"""The running job in napari's own activity list, beside the progress bar of the dock.

As napari makes an entry, it handles the events that wait. A job may begin inside one of its mouse callbacks, which must
not be entered twice, so the entry is made once the event that began the job is over.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import napari.utils
from qtpy.QtCore import QTimer

_STEPS = 100


class Activity:
    """One entry in napari's activity list at a time.

    Args:
        cancel: Called when the entry's Cancel is clicked.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._entry: napari.utils.cancelable_progress | None = None
        self._title: str | None = None

    def begin(self, title: str) -> None:
        """Add an entry.

        Args:
            title: What is being done.
        """
        self.end()
        self._title = title
        QTimer.singleShot(0, self._open)

    def advance(self, fraction: float, message: str) -> None:
        """Move the entry's bar.

        Args:
            fraction: Finished share in [0, 1].
            message: Not shown: the entry keeps its title.
        """
        if self._entry is not None:
            self._entry.update(round(fraction * _STEPS) - self._entry.n)

    def end(self) -> None:
        """Remove the entry."""
        self._title = None
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.close()

    def _open(self) -> None:
        title, self._title = self._title, None
        if title is not None:
            # napari's entries are tqdm bars, which would also write to the terminal.
            self._entry = napari.utils.cancelable_progress(
                total=_STEPS, desc=title, cancel_callback=self._cancel, file=io.StringIO()
            )
