"""Progress reports and cancellation for long calls."""

from __future__ import annotations

import threading
from collections.abc import Callable

from colipri_core.errors import Cancelled

ProgressCallback = Callable[[float, str], None]
"""Called with the finished fraction in [0, 1] and what is being done."""


class CancelToken:
    """A flag that one thread sets and the thread doing the work looks at."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop at its next check."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise if the work was cancelled.

        Raises:
            Cancelled: If `cancel` was called.
        """
        if self.cancelled:
            msg = "The work was cancelled. Nothing was changed."
            raise Cancelled(msg)


class Reporter:
    """Sends progress and answers cancellation; both ends are optional.

    Args:
        progress: Receives (fraction, message); None drops the reports.
        cancel: Checked at every report; None never cancels.
        start: Fraction of the whole at which this part begins.
        end: Fraction of the whole at which this part ends.
    """

    def __init__(
        self,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        *,
        start: float = 0.0,
        end: float = 1.0,
    ) -> None:
        self._progress = progress
        self._cancel = cancel
        self._start = start
        self._end = end

    def __call__(self, fraction: float, message: str = "") -> None:
        """Report the finished fraction of this part.

        Args:
            fraction: Finished share of this part, in [0, 1].
            message: What is being done, for a person.

        Raises:
            Cancelled: If the cancel token is set.
        """
        if self._cancel is not None:
            self._cancel.check()
        if self._progress is not None:
            self._progress(self._start + (self._end - self._start) * min(max(fraction, 0.0), 1.0), message)

    def part(self, start: float, end: float) -> Reporter:
        """Return a reporter for a sub-range of this part.

        Args:
            start: Fraction of this part at which the sub-range begins.
            end: Fraction of this part at which it ends.
        """
        span = self._end - self._start
        return Reporter(self._progress, self._cancel, start=self._start + span * start, end=self._start + span * end)
