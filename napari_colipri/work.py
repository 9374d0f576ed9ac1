"""What the plugin asks a runner to do in the background; `jobs.Jobs` is the runner that Qt drives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from typing import Literal
from typing import Protocol

from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback

Work = Callable[[ProgressCallback, CancelToken], Any]
"""Receives where to report progress and the token that cancels it; runs on the worker thread."""

AtClose = Literal["drop", "do", "do in order"]
"""What becomes of the work of a job that waits when the runner is closed: it is dropped, it is done, or it is done
unless a job before it was dropped, as an undo must not take back what came before the prompt it was meant for."""


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
        at_close: What becomes of its work if the runner is closed while it waits.
    """

    title: str
    work: Work
    on_done: Callable[[Any], None]
    replaceable: bool = False
    waits: bool = False
    quiet: bool = False
    on_stopped: Callable[[], None] | None = None
    at_close: AtClose = "drop"


class Runner(Protocol):
    """Runs jobs, one at a time."""

    def start(self, job: Job) -> bool:
        """Run a job; False if a running one may not be replaced."""
        ...

    def cancel(self) -> None:
        """Ask the running job to stop."""
        ...

    def in_order(self, work: Callable[[], None]) -> None:
        """Run something short on the worker after what it does now and what waits."""
        ...

    def close(self, cleanup: Callable[[], None] | None = None) -> None:
        """Cancel and take no more jobs; what waits and must be done is done on the worker, then `cleanup`."""
        ...
