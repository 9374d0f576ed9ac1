"""Long work off the GUI thread: one job at a time, with progress, Cancel, and results back on the GUI thread.

`Jobs` lives on the GUI thread and owns one worker thread. A job's callable runs on the worker and touches neither Qt
nor layers; what it returns goes to `on_done` on the GUI thread. Signals cross the threads through a relay that the
job itself keeps alive, so a job that ends after its dock was closed talks to nobody instead of to a deleted widget.
A job marked `replaceable` (a heat map) gives way to the next one; one marked `waits` (an edit) queues behind what runs;
others make `start` return False. What waits is dropped by nothing but `close`, which leaves strokes, edits and saves to
be done by the worker (`Job.at_close`) before it ends.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtCore import Qt
from qtpy.QtCore import Signal

from colipri_core.errors import Cancelled
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from napari_colipri.work import Job

logger = logging.getLogger(__name__)

_REPORT_EVERY_S = 0.05


class _Relay(QObject):
    """Carries what happens on the worker to the GUI thread."""

    progressed = Signal(float, str)
    ended = Signal(object)


class Jobs(QObject):
    """Runs jobs, one at a time.

    Signals:
        started(str): A job began; its title.
        progressed(float, str): Finished fraction in [0, 1] and what is being done.
        failed(object): The exception of a job that failed.
        cancelled(): A job was cancelled.
        idle(): No job is running any more.
    """

    started = Signal(str)
    progressed = Signal(float, str)
    failed = Signal(object)
    cancelled = Signal()
    idle = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="colipri-job")
        self._job: Job | None = None
        self._next: Job | None = None
        self._waiting: deque[Job] = deque()
        self._token = CancelToken()
        self._relay: _Relay | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self._job is not None

    @property
    def accepts(self) -> bool:
        """Whether `start` would take a job now."""
        return not self._closed and (self._job is None or self._job.replaceable)

    def start(self, job: Job) -> bool:
        """Run a job, or queue it behind the replaceable one it cancels.

        Args:
            job: The job.

        Returns:
            False if another job is running that may not be replaced, or `close` was called.
        """
        if job.waits and self._job is not None and not self._closed:
            self._waiting.append(job)
            return True
        if not self.accepts:
            return False
        if self._job is not None:
            self._next = job
            self._token.cancel()
            return True
        self._launch(job)
        return True

    def cancel(self) -> None:
        """Ask the running job to stop and forget the one behind it; jobs that wait for their turn stay."""
        self._next = None
        self._token.cancel()

    def close(self, cleanup: Callable[[], None] | None = None) -> None:
        """Cancel, take no more jobs, and let the worker end by itself; nothing is waited for.

        Work that has to be done all the same is done by the worker, and nobody is told of its result.

        Args:
            cleanup: Runs on the worker after the last job; frees what jobs use.
        """
        if self._closed:
            return
        self._closed = True
        if self._job is None or self._job.at_close == "drop":
            self._token.cancel()
        if self._relay is not None:
            self._relay.progressed.disconnect(self._on_progress)
            self._relay.ended.disconnect(self._on_ended)
        for job in self._left_to_do():
            future = self._executor.submit(job.work, _unheard, CancelToken())
            future.add_done_callback(functools.partial(_log_failure, job))
        if cleanup is not None:
            self._executor.submit(cleanup)
        self._executor.shutdown(wait=False)

    def in_order(self, work: Callable[[], None]) -> None:
        """Run something short on the worker after what it does now and what waits, without progress.

        Args:
            work: Runs on the worker thread; frees memory, for instance, which a job that waits would take again.
        """
        if self._closed:
            return
        if self._waiting:
            self._waiting.append(
                Job(
                    title="Tidying up",
                    work=lambda *_: work(),
                    on_done=lambda _: None,
                    waits=True,
                    quiet=True,
                    at_close="do",
                )
            )
        else:
            self._executor.submit(work)

    def _left_to_do(self) -> Iterator[Job]:
        """Of the jobs that wait, those whose work is done although the runner is closed."""
        dropped = self._job is not None and self._job.waits and self._job.at_close == "drop"
        for job in self._waiting:
            if job.at_close == "do" or (job.at_close == "do in order" and not dropped):
                yield job
            dropped = dropped or job.at_close == "drop"

    def _launch(self, job: Job) -> None:
        self._job, self._token, self._relay = job, CancelToken(), _Relay()
        self._relay.progressed.connect(self._on_progress)
        # Queued, for work that has ended before its callback is added calls it from this thread, within `start`.
        self._relay.ended.connect(self._on_ended, Qt.ConnectionType.QueuedConnection)
        if not job.quiet:
            self.started.emit(job.title)
        future = self._executor.submit(job.work, _throttled(self._relay), self._token)
        future.add_done_callback(self._relay.ended.emit)

    def _on_progress(self, fraction: float, message: str) -> None:
        self.progressed.emit(fraction, message)

    def _on_ended(self, future: Future[Any]) -> None:
        job, token, follower = self._job, self._token, self._next
        self._job = self._next = self._relay = None
        error = future.exception()
        try:
            if job is not None and error is None and (job.waits or not token.cancelled):
                job.on_done(future.result())
                return
            if job is not None and job.on_stopped is not None:
                job.on_stopped()
            if error is None or isinstance(error, Cancelled):
                self.cancelled.emit()
            else:
                self.failed.emit(error)
        finally:
            if self._waiting and self._job is None and not self._closed:
                if follower is not None:
                    self._waiting.append(follower)
                follower = self._waiting.popleft()
            if follower is not None and self._job is None and not self._closed:
                self._launch(follower)
            if self._job is None:
                self.idle.emit()


def _unheard(fraction: float, message: str) -> None:
    """Progress of work that goes on after the runner was closed."""


def _log_failure(job: Job, future: Future[Any]) -> None:
    error = future.exception()
    if error is not None:
        logger.error('"%s" was still to be done when COLIPRI was closed, and failed: %s', job.title, error)


def _throttled(relay: _Relay) -> ProgressCallback:
    """Pass on at most twenty reports a second, so that a chatty job cannot flood the event loop."""
    last = [0.0]

    def report(fraction: float, message: str) -> None:
        now = time.monotonic()
        if now - last[0] >= _REPORT_EVERY_S or fraction >= 1.0:
            last[0] = now
            relay.progressed.emit(fraction, message)

    return report
