"""The running job in napari's own activity list, beside the progress bar of the dock."""

from __future__ import annotations

import io
from collections.abc import Callable

import napari.utils

_STEPS = 100


class Activity:
    """One entry in napari's activity list at a time.

    Args:
        cancel: Called when the entry's Cancel is clicked.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._entry: napari.utils.cancelable_progress | None = None

    def begin(self, title: str) -> None:
        """Add an entry.

        Args:
            title: What is being done.
        """
        self.end()
        # napari's entries are tqdm bars, which would also write to the terminal.
        self._entry = napari.utils.cancelable_progress(
            total=_STEPS, desc=title, cancel_callback=self._cancel, file=io.StringIO()
        )

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
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.close()
