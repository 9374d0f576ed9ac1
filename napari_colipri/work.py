"""What the plugin asks a runner to do in the background; `jobs.Jobs` is the runner that Qt drives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from typing import Protocol

from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback

Work = Callable[[ProgressCallback, CancelToken], Any]
"""Receives where to report progress and the token that cancels it; runs on the worker thread."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of long work.

    Args:
        title: What is being done, shown beside the progress bar.
        work: Runs on the worker thread; touches neither Qt nor layers.
        on_done: Receives the result on the GUI thread; not called when the job failed or was cancelled.
        replaceable: Whether a newer job may cancel this one and take its place.
        waits: Whether it waits for its turn while others run, instead of being refused. What it did stands, so its
            result is delivered even if Cancel came too late to stop it.
        quiet: Whether it is too short to be announced.
        on_stopped: Called on the GUI thread if the job failed or was cancelled.
    """

    title: str
    work: Work
    on_done: Callable[[Any], None]
    replaceable: bool = False
    waits: bool = False
    quiet: bool = False
    on_stopped: Callable[[], None] | None = None


class Runner(Protocol):
    """Runs jobs, one at a time."""

    def start(self, job: Job) -> bool:
        """Run a job; False if a running one may not be replaced."""
        ...

    def cancel(self) -> None:
        """Ask the running job to stop."""
        ...

    def in_order(self, work: Callable[[], None]) -> None:
        """Run something short on the worker after what it does now."""
        ...

    def close(self, cleanup: Callable[[], None] | None = None) -> None:
        """Cancel and take no more jobs; `cleanup` runs on the worker last."""
        ...
