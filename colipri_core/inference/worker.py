"""The one thread that owns a model: every torch call of an engine runs here, one job after the other.

cuDNN plans and OpenMP settings belong to a thread, so a model that is used from changing threads is planned again and
again. Callers wait on a future; a job that is still queued when its caller cancels never starts, a running one ends at
its next progress report. The thread is a daemon that is stopped and joined when the worker is closed, collected, or
the interpreter ends, whichever comes first.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any
from typing import TypeVar

import torch

from colipri_core.errors import Cancelled
from colipri_core.errors import SessionClosedError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Job = Callable[[Reporter], Result]
"""Work for the model; reports its progress, which is also where it can be cancelled."""

_POLL_SECONDS = 0.05
_JOIN_SECONDS = 30.0
_CLOSED = "The engine was closed. Open it again with open_engine()."


class ModelWorker:
    """Runs jobs in one persistent thread under `torch.inference_mode`.

    Args:
        threads: Threads torch may use inside one job; None for `available_threads()`.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._jobs: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._stop = CancelToken()
        self._thread = threading.Thread(
            target=_serve, args=(self._jobs, threads or available_threads()), name="colipri-model", daemon=True
        )
        self._thread.start()
        self._finalizer = weakref.finalize(self, _shut_down, self._jobs, self._stop, self._thread)

    def run(
        self, job: Job[Result], *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> Result:
        """Run a job on the model's thread and wait for its result.

        Args:
            job: Called with a reporter; what it raises is raised here.
            progress: Receives (fraction, message), on the model's thread.
            cancel: Cancels the job, whether it waits or runs.

        Returns:
            What the job returned.

        Raises:
            Cancelled: If `cancel` was set.
            SessionClosedError: If the worker is or becomes closed.
        """
        token = _EitherToken(cancel or CancelToken(), self._stop)
        reporter = Reporter(progress, token)
        if threading.current_thread() is self._thread:  # a progress callback that asks for more would wait for itself
            return job(reporter)
        item = _Item(job, reporter)
        if self._stop.cancelled:
            raise SessionClosedError(_CLOSED)
        self._jobs.put(item)
        try:
            result: Result = self._wait(item.future, token)
        except Cancelled as error:
            if self._stop.cancelled:
                raise SessionClosedError(_CLOSED) from error
            raise
        return result

    def close(self) -> None:
        """Cancel what runs or waits, and end the thread. Closing twice does nothing."""
        self._finalizer()

    def _wait(self, future: Future[Any], token: CancelToken) -> Any:
        while True:
            try:
                return future.result(timeout=_POLL_SECONDS)
            except FutureTimeoutError:
                if future.done():  # the job itself timed out on something: let it be raised
                    return future.result()
                if token.cancelled and future.cancel():
                    token.check()


class _Item:
    """A job in the queue, with the future its caller waits on."""

    def __init__(self, job: Job[Any], reporter: Reporter) -> None:
        self._job = job
        self._reporter = reporter
        self.future: Future[Any] = Future()

    def run(self) -> None:
        """Run the job unless its caller left; hand over its result or error."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self._reporter(0.0)
            result = self._job(self._reporter)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    def refuse(self) -> None:
        """Tell the caller that the worker is closed."""
        try:
            self.future.set_exception(SessionClosedError(_CLOSED))
        except InvalidStateError:
            logger.debug("A queued job had already been cancelled by its caller")


class _EitherToken(CancelToken):
    """Cancelled as soon as the caller's or the worker's own token is."""

    def __init__(self, caller: CancelToken, worker: CancelToken) -> None:
        super().__init__()
        self._tokens = (caller, worker)

    @property
    def cancelled(self) -> bool:
        return any(token.cancelled for token in self._tokens)


def available_threads() -> int:
    """Return how many threads torch should use: COLIPRI_THREADS, OMP_NUM_THREADS, or the cores this process may use.

    Raises:
        ValueError: If COLIPRI_THREADS is set to something other than a positive whole number.
    """
    wanted = os.environ.get("COLIPRI_THREADS", "")
    if wanted:
        if not wanted.isdecimal() or int(wanted) < 1:
            msg = f'COLIPRI_THREADS must be a positive whole number, got "{wanted}". Correct it or unset it.'
            raise ValueError(msg)
        return int(wanted)
    openmp = os.environ.get("OMP_NUM_THREADS", "")
    if openmp.isdecimal() and int(openmp) >= 1:
        return int(openmp)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(jobs: queue.SimpleQueue[_Item | None], threads: int) -> None:
    torch.set_num_threads(threads)
    with torch.inference_mode():
        while (item := jobs.get()) is not None:
            item.run()
            del item  # or the last job's arrays would live until the next one
    while not jobs.empty():
        waiting = jobs.get()
        if waiting is not None:
            waiting.refuse()


def _shut_down(jobs: queue.SimpleQueue[_Item | None], stop: CancelToken, thread: threading.Thread) -> None:
    stop.cancel()
    jobs.put(None)
    if thread is not threading.current_thread():
        thread.join(timeout=_JOIN_SECONDS)
