"""Jobs: long calls that run in threads, report as they go, and can be cancelled.

A job's messages go through a queue from its thread to the answer that streams them. The models have one thread, which
the engine keeps; a job that waits for it says how many are before it. A job is cancelled by its name, by its client
hanging up, and by the server stopping. Its outcome is told once: a result, or an error.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import AsyncIterator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from colipri_core.errors import Cancelled
from colipri_core.errors import ColipriError
from colipri_core.errors import NotFoundError
from colipri_core.errors import ServerBusyError
from colipri_core.errors import ServerStoppingError
from colipri_core.progress import CancelToken
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.questions import progress_frame
from colipri_core.remote.protocol.questions import result_frame
from colipri_core.remote.protocol.questions import sentence_frame
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.server.answers import error_document
from colipri_core.remote.server.logs import note
from colipri_core.remote.server.metrics import Metrics
from colipri_core.report import ReportSentence

_PROGRESS_S = 0.1
"""Least time between two reports of a job (our choice): a quick call sends none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Control:
    """What the work of a job gets.

    Args:
        progress: Takes (fraction, message).
        sentence: Takes a sentence of a report.
        cancel: Set when the job is to end.
    """

    progress: Callable[[float, str], None]
    sentence: Callable[[ReportSentence], None]
    cancel: CancelToken


Work = Callable[[Control], Parts]
"""What a job does, in a thread of its own; returns body and arrays of its result."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What is known of a job before it starts.

    Args:
        kind: Name of the call, such as "classify".
        name: What its client calls it; made up if empty.
        owner: The session it belongs to; empty for none.
        uses_model: Whether it waits for the model's thread.
        lock: Held while it works: jobs of one lock run one after the other.
    """

    kind: str
    name: str = ""
    owner: str = ""
    uses_model: bool = True
    lock: asyncio.Lock | None = None


class Job:
    """One job; made by `Jobs.start`.

    Args:
        request: What is known of it.
        loop: The loop its messages go to.
    """

    def __init__(self, request: JobRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.request = request
        self.name = request.name or uuid.uuid4().hex
        self.cancel = CancelToken()
        self.at_work = False
        self.stopping = False
        self._loop = loop
        self._messages: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self._told = False
        self._last_report = time.monotonic()

    async def messages(self) -> AsyncIterator[bytes]:
        """Give the frames of the job's stream, the last one its outcome."""
        last = False
        while not last:
            content, last = await self._messages.get()
            yield content

    def report(self, fraction: float, message: str) -> None:
        """Tell of progress, from the job's threads; what comes too often is dropped."""
        self.at_work = True
        now = time.monotonic()
        if now - self._last_report >= _PROGRESS_S:
            self._last_report = now
            self.say(progress_frame(fraction, message))

    def say(self, content: bytes) -> None:
        """Send a message, from any thread."""
        self._loop.call_soon_threadsafe(self._messages.put_nowait, (content, False))

    def tell(self, outcome: bytes) -> None:
        """Send the last message, from the loop; only the first outcome counts."""
        if not self._told:
            self._told = True
            self._messages.put_nowait((outcome, True))


class Jobs:
    """All jobs of a server. To be used on its loop.

    Args:
        metrics: Where they are counted.
        most: Most jobs at a time.
        most_of_one: Most jobs of one session at a time.
    """

    def __init__(self, metrics: Metrics, *, most: int, most_of_one: int) -> None:
        self._metrics = metrics
        self._most = most
        self._most_of_one = most_of_one
        self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="colipri-job")
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        metrics.watch("jobs_at_hand", "Jobs that wait or run.", lambda: len(self._jobs))

    def __len__(self) -> int:
        return len(self._jobs)

    def of(self, owner: str) -> int:
        """Number of jobs of a session that wait or run."""
        return sum(job.request.owner == owner for job in list(self._jobs.values()))

    def start(self, request: JobRequest, work: Work) -> Job:
        """Begin a job.

        Args:
            request: What is known of it.
            work: What it does.

        Raises:
            ServerBusyError: If there are too many, one of this name is at work, or the server stops.
        """
        self._check(request)
        job = Job(request, asyncio.get_running_loop())
        self._jobs[job.name] = job
        task = asyncio.create_task(self._run(job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def cancel(self, name: str) -> None:
        """Cancel a job.

        Raises:
            NotFoundError: If no job of this name waits or runs.
        """
        job = self._jobs.get(name)
        if job is None:
            msg = "Expected the name of a job that waits or runs, found none. It may have ended already."
            raise NotFoundError(msg)
        job.cancel.cancel()

    def cancel_all_of(self, owner: str) -> None:
        """Cancel the jobs of a session."""
        for job in list(self._jobs.values()):
            if job.request.owner == owner:
                job.cancel.cancel()

    async def stop(self, *, within_s: float) -> None:
        """Cancel all jobs and wait for them; clients are told that the server stops. New ones are refused.

        Args:
            within_s: Seconds after which jobs that have not ended are given up.
        """
        self._stopping = True
        for job in list(self._jobs.values()):
            job.stopping = True
            job.cancel.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within_s)
        for job in list(self._jobs.values()):
            job.tell(_error_frame(_stopping()))
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, request: JobRequest) -> None:
        if self._stopping:
            raise _stopping()
        if request.name in self._jobs:
            msg = "Expected a new name for each job, found that of one at work. Wait for its end, or use a new UUID."
            raise ServerBusyError(msg)
        if len(self._jobs) >= self._most or (request.owner and self.of(request.owner) >= self._most_of_one):
            msg = (
                f"Expected at most {self._most_of_one} calls of a session and {self._most} in all. Wait for one to end."
            )
            raise ServerBusyError(msg)

    async def _run(self, job: Job, work: Work) -> None:
        start = time.monotonic()
        outcome = "done"
        try:
            job.tell(await self._result(job, work))
        except Cancelled as error:
            outcome = "cancelled"
            job.tell(_error_frame(_stopping() if job.stopping else error))
        except (ColipriError, ValueError, TypeError) as error:
            outcome = "refused"
            job.tell(_error_frame(_stopping() if job.stopping else error))
        except Exception as error:  # the boundary of a job: its client is told, the log has the place
            outcome = "failed"
            note("job_failed", level=logging.ERROR, error=error, kind=job.request.kind)
            job.tell(_error_frame(error))
        finally:
            del self._jobs[job.name]
        seconds = time.monotonic() - start
        self._metrics.job(kind=job.request.kind, outcome=outcome, seconds=seconds)
        note("job", kind=job.request.kind, outcome=outcome, ms=round(seconds * 1000, 1))

    async def _result(self, job: Job, work: Work) -> bytes:
        async with job.request.lock or asyncio.Lock():
            job.cancel.check()
            waiting = asyncio.create_task(self._tell_place(job)) if job.request.uses_model else None
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, _do, job, work)
            finally:
                if waiting is not None:
                    waiting.cancel()

    async def _tell_place(self, job: Job) -> None:
        """While a job waits for the model, say how many are before it."""
        told = -1
        while not job.at_work:
            await asyncio.sleep(_PROGRESS_S)
            before = self._before(job)
            if before != told and not job.at_work:
                told = before
                job.say(progress_frame(0.0, f"Waiting: {before} before this one" if before else "Waiting"))

    def _before(self, job: Job) -> int:
        names = list(self._jobs)
        earlier = names[: names.index(job.name)] if job.name in self._jobs else []
        return sum(self._jobs[name].request.uses_model for name in earlier)


def _do(job: Job, work: Work) -> bytes:
    """The part of a job that runs in its thread."""
    control = Control(
        progress=job.report, sentence=lambda sentence: job.say(sentence_frame(sentence)), cancel=job.cancel
    )
    return result_frame(*work(control))


def _stopping() -> ServerStoppingError:
    return ServerStoppingError("The server is being stopped; what was answered is saved. Connect again in a moment.")


def _error_frame(error: BaseException) -> bytes:
    return frame_bytes(Kind.ERROR, error_document(error))
