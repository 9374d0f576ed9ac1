"""Long work off the main thread, one job at a time; the main thread polls, and alone touches MRML and widgets.

A job's `work` runs on the one worker thread and touches neither nodes nor widgets. What it returns goes to `on_done` in
`poll`, which a QTimer calls in the application and a loop calls in tests. A job marked `replaceable` (a heat map) gives
way to the next one; one marked `waits` (an edit) queues behind what runs and is never dropped; another one is refused.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from colipri_core.errors import Cancelled
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback

Work = Callable[[ProgressCallback, CancelToken], Any]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One piece of work.

    Args:
        title: What is being done, for people.
        work: Runs on the worker with a progress callback and a cancel token.
        on_start: Called on the main thread when its turn has come, just before `work`.
        on_done: Receives its result, in `poll`.
        on_stopped: Called in `poll` if it failed or was cancelled.
        replaceable: Whether the next job may cancel it.
        waits: Whether it waits for its turn instead of being refused.
    """

    title: str
    work: Work
    on_done: Callable[[Any], None]
    on_stopped: Callable[[], None] | None = None
    on_start: Callable[[], None] | None = None
    replaceable: bool = False
    waits: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Ended:
    job: Job
    token: CancelToken
    result: Any = None
    error: BaseException | None = None


class Runner:
    """Runs jobs on one thread of its own.

    Args:
        on_failed: Receives the exception of a job that failed, in `poll`.
        on_change: Called in `poll` whenever something began, went on or ended.
    """

    def __init__(self, on_failed: Callable[[Exception], None], on_change: Callable[[], None] = lambda: None) -> None:
        self.fraction = 0.0
        self.message = ""
        self._on_failed = on_failed
        self._on_change = on_change
        self._job: Job | None = None
        self._follower: Job | None = None
        self._waiting: deque[Job] = deque()
        self._token = CancelToken()
        self._tasks: queue.SimpleQueue[tuple[Job, CancelToken] | Callable[[], None] | None] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[tuple[CancelToken, float, str] | _Ended | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="colipri-job", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self._job is not None

    @property
    def title(self) -> str:
        """What is being done; empty if nothing is."""
        return self._job.title if self._job is not None else ""

    def start(self, job: Job) -> bool:
        """Run a job, or queue it.

        Args:
            job: The job.

        Returns:
            False if another job is running that may not be replaced, or `close` was called.
        """
        if self._closed:
            return False
        if self._job is None:
            self._launch(job)
        elif job.waits:
            self._waiting.append(job)
        elif self._job.replaceable:
            self._follower = job
            self._token.cancel()
        else:
            return False
        return True

    def cancel(self) -> None:
        """Ask the running job to stop and forget the one behind it; jobs that wait for their turn stay."""
        self._follower = None
        self._token.cancel()

    def poll(self) -> None:
        """Take note of what happened on the worker; to be called on the main thread, often."""
        changed = False
        while True:
            try:
                report = self._reports.get_nowait()
            except queue.Empty:
                break
            changed = True
            if isinstance(report, _Ended):
                self._end(report)
            elif report is not None and report[0] is self._token:
                _, self.fraction, self.message = report
        if changed:
            self._on_change()

    def nudge(self) -> None:
        """Let the next `poll` say that something changed; may be called on any thread."""
        self._reports.put(None)

    def wait(self, timeout_s: float = 60.0) -> None:
        """Poll until nothing is running or queued; for scripts and tests, which have no event loop.

        Args:
            timeout_s: Longest to wait.

        Raises:
            TimeoutError: If something is still running then.
        """
        deadline = time.monotonic() + timeout_s
        while self.busy or not self._reports.empty():
            self.poll()
            if self.busy and time.monotonic() > deadline:
                msg = f'"{self.title}" was still running after {timeout_s:g} s.'
                raise TimeoutError(msg)
            time.sleep(0.002)

    def afterwards(self, cleanup: Callable[[], None]) -> None:
        """Let the worker do something after the job that runs, without telling anybody.

        Args:
            cleanup: Runs on the worker, and must not raise.
        """
        if not self._closed:
            self._tasks.put(cleanup)

    def finish(self, timeout_s: float) -> tuple[str, ...]:
        """Cancel what runs, but let edits and saves that wait for their turn be done first, as far as time allows.

        To be called on the main thread before what they need goes. Where nothing waits, nothing is waited for.

        Args:
            timeout_s: Longest to wait.

        Returns:
            Titles of those that were not done; they are forgotten.
        """
        self.cancel()
        deadline = time.monotonic() + timeout_s
        while self._waiting or (self._job is not None and self._job.waits):
            if time.monotonic() > deadline:
                break
            self.poll()
            time.sleep(0.002)
        left = tuple(job.title for job in (self._job, *self._waiting) if job is not None and job.waits)
        self._waiting.clear()
        return left

    def close(self, cleanup: Callable[[], None] | None = None) -> None:
        """Cancel, take no more jobs, and let the thread end by itself; nothing is waited for.

        Args:
            cleanup: Runs on the worker after the last job.
        """
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        self.cancel()
        if cleanup is not None:
            self._tasks.put(cleanup)
        self._tasks.put(None)

    def join(self, timeout_s: float = 10.0) -> bool:
        """Wait for the thread after `close`; returns whether it ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _launch(self, job: Job) -> None:
        self._job, self._token = job, CancelToken()
        self.fraction, self.message = 0.0, ""
        try:
            if job.on_start is not None:
                job.on_start()
        except Exception as error:
            self._reports.put(_Ended(job=job, token=self._token, error=error))
        else:
            self._tasks.put((job, self._token))

    def _end(self, ended: _Ended) -> None:
        follower, self._job, self._follower = self._follower, None, None
        try:
            self._hand_over(ended)
        finally:
            if follower is not None:
                self._waiting.append(follower)
            if self._waiting and self._job is None and not self._closed:
                self._launch(self._waiting.popleft())

    def _hand_over(self, ended: _Ended) -> None:
        job, error = ended.job, ended.error
        if self._closed:
            return
        if error is None and (job.waits or not ended.token.cancelled):
            job.on_done(ended.result)
            return
        if job.on_stopped is not None:
            job.on_stopped()
        if isinstance(error, Exception) and not isinstance(error, Cancelled):
            self._on_failed(error)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if callable(task):
                task()
                continue
            job, token = task

            def report(fraction: float, message: str, token: CancelToken = token) -> None:
                self._reports.put((token, fraction, message))

            try:
                ended = _Ended(job=job, token=token, result=job.work(report, token))
            except BaseException as error:
                ended = _Ended(job=job, token=token, error=error)
            self._reports.put(ended)
