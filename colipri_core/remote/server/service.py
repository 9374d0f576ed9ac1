"""What all requests share: engine, volumes, sessions, jobs and stores, begun and stopped in order."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from fastapi import Request

from colipri_core.engine import Engine
from colipri_core.errors import ServerStoppingError
from colipri_core.remote.protocol.version import JOB_HEADER
from colipri_core.remote.server.jobs import JobRequest
from colipri_core.remote.server.jobs import Jobs
from colipri_core.remote.server.jobs import Work
from colipri_core.remote.server.logs import note
from colipri_core.remote.server.metrics import Metrics
from colipri_core.remote.server.records import Records
from colipri_core.remote.server.sessions import HeldSession
from colipri_core.remote.server.sessions import Sessions
from colipri_core.remote.server.settings import ServerSettings
from colipri_core.remote.server.stores import Stores
from colipri_core.remote.server.streaming import JobAnswer
from colipri_core.remote.server.volumes import VolumeStore
from colipri_core.remote.server.volumes import wire_limits

_LONGEST_JOB_NAME = 64
_TEND_S = 5.0
"""Longest time between two looks at the leases (our choice)."""


class Service:
    """The state of one application.

    Args:
        engine: The model, loaded.
        settings: How it is served.
    """

    def __init__(self, engine: Engine, settings: ServerSettings) -> None:
        limits = settings.limits
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.engine = engine
        self.settings = settings
        self.wire = wire_limits(limits)
        self.metrics = Metrics(version=version("napari-colipri"), model=engine.card.name)
        self.volumes = VolumeStore(settings.state / "volumes", limits)
        self.jobs = Jobs(self.metrics, most=limits.jobs, most_of_one=limits.jobs_per_session)
        records = Records(settings.state / "sessions")
        self.sessions = Sessions(engine, self.volumes, records, limits, busy=self.jobs.of)
        self.stores = Stores(settings.stores, settings.root)
        self.ready = False
        self._tending: asyncio.Task[None] | None = None
        self.metrics.watch("sessions", "Open sessions.", lambda: len(self.sessions))
        self.metrics.watch("volume_memory_bytes", "Volumes in memory.", lambda: self.volumes.memory_bytes)
        self.metrics.watch("volume_disk_bytes", "Volumes on disk.", lambda: self.volumes.disk_bytes)

    async def start(self) -> None:
        """Begin to serve."""
        self._tending = asyncio.create_task(self._tend())
        self.ready = True
        note("started", model=self.engine.card.name, device=self.engine.device)

    async def stop(self) -> None:
        """End jobs, save and close sessions. Stopping twice does nothing."""
        if not self.ready:
            return
        self.ready = False
        note("stopping", jobs=len(self.jobs), sessions=len(self.sessions))
        if self._tending is not None:
            self._tending.cancel()
        await self.jobs.stop(within_s=self.settings.limits.stop_s)
        await self.sessions.close()
        note("stopped")

    def check_running(self) -> None:
        """Refuse what would begin something while the server stops.

        Raises:
            ServerStoppingError: If it does.
        """
        if not self.ready:
            msg = "The server is being stopped. Connect again in a moment."
            raise ServerStoppingError(msg)

    def answer(
        self, kind: str, request: Request, work: Work, *, held: HeldSession | None = None, uses_model: bool = True
    ) -> JobAnswer:
        """Begin a job and return the answer that streams it.

        Args:
            kind: Name of the call.
            request: The request, whose header may name the job.
            work: What the job does.
            held: The session it belongs to.
            uses_model: Whether it waits for the model's thread.

        Raises:
            ServerBusyError: If there are too many jobs, or the server stops.
        """
        owner = held.id if held is not None else ""
        asked = JobRequest(kind=kind, name=job_name(request), owner=owner, uses_model=uses_model)
        return JobAnswer(self.jobs.start(asked, work))

    def edit(self, kind: str, request: Request, work: Work, *, held: HeldSession, uses_model: bool) -> JobAnswer:
        """Begin a job that edits, after the edits of the same session that came before; see `answer`."""
        asked = JobRequest(kind=kind, name=job_name(request), owner=held.id, uses_model=uses_model, lock=held.edits)
        return JobAnswer(self.jobs.start(asked, work))

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(min(self.settings.limits.lease_s / 4, _TEND_S))
            try:
                await self.sessions.tend()
            except OSError as error:  # a full or absent disk must not end the care of leases
                note("tending_failed", error=error)


def service_of(request: Request) -> Service:
    """Return the service of the application that answers a request."""
    service: Service = request.app.state.service
    return service


def job_name(request: Request) -> str:
    """Return the name a client gave its call, empty if none.

    Raises:
        ValueError: If it is no sensible name.
    """
    name = request.headers.get(JOB_HEADER, "")
    if len(name) > _LONGEST_JOB_NAME or not all(letter.isalnum() or letter == "-" for letter in name):
        msg = f"Expected a UUID in the header {JOB_HEADER}, found something else."
        raise ValueError(msg)
    return name
