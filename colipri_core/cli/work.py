"""The steps verbs share: read a CT, open an engine, show progress, let Ctrl-C cancel."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from colipri_core.cli.terminal import Terminal
from colipri_core.cli.terminal import cancel_on_interrupt
from colipri_core.engine import SHIPPED_CLICKS
from colipri_core.engine import Engine
from colipri_core.engine import is_server
from colipri_core.engine import open_engine
from colipri_core.io import read_volume
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.session import Session
from colipri_core.volume import Volume

if TYPE_CHECKING:
    from colipri_core.remote.stores import Archive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model runs where.

    Args:
        model: Shipped name, folder or hub id.
        device: Device name or "auto".
        clicks_model: What answers prompts.
    """

    model: str
    device: str
    clicks_model: str = SHIPPED_CLICKS

    @property
    def is_remote(self) -> bool:
        """Whether the model runs at a server."""
        return is_server(self.model)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user has to know of the models' licences."""
        if self.clicks_model.startswith("nninteractive"):
            return ("nnInteractive's published weights are CC BY-NC-SA 4.0: not for commercial use.",)
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Control:
    """What long calls of a command take.

    Args:
        progress: Draws the progress bar; None without one.
        cancel: Set by Ctrl-C.
    """

    progress: ProgressCallback | None
    cancel: CancelToken


@contextlib.contextmanager
def controlled(terminal: Terminal) -> Iterator[Control]:
    """Show progress and answer Ctrl-C while the body runs."""
    with cancel_on_interrupt() as cancel, terminal.progress() as progress:
        yield Control(progress=progress, cancel=cancel)


def engine_of(choice: ModelChoice, control: Control) -> Engine:
    """Open the engine a command asks for."""
    return open_engine(
        choice.model,
        device=choice.device,
        clicks_model=choice.clicks_model,
        progress=control.progress,
        cancel=control.cancel,
    )


@contextlib.contextmanager
def opened_engine(choice: ModelChoice, terminal: Terminal) -> Iterator[tuple[Engine, Control]]:
    """Open the engine a command asks for, with progress and Ctrl-C.

    Args:
        choice: The model.
        terminal: The streams of the command.
    """
    with controlled(terminal) as control, engine_of(choice, control) as engine:
        yield engine, control


@contextlib.contextmanager
def opened_store(store: str, choice: ModelChoice, terminal: Terminal) -> Iterator[tuple[Engine, Archive, Control]]:
    """Open a store and a model; a store that cannot be opened from here fails before the model is loaded.

    Args:
        store: Folder or URL of a store, or the name of one of the server's.
        choice: The model.
        terminal: The streams of the command.
    """
    from colipri_core.index import open_store
    from colipri_core.remote.stores import store_for

    cases = None if choice.is_remote else open_store(store)
    with opened_engine(choice, terminal) as (engine, control):
        yield engine, store_for(engine, store) if cases is None else cases, control


@contextlib.contextmanager
def opened(
    ct: Path,
    choice: ModelChoice,
    terminal: Terminal,
    *,
    series: str | None,
    check: Callable[[Volume], None] | None = None,
) -> Iterator[tuple[Session, Control]]:
    """Read one CT and open it in an engine; unfit input fails before the model is loaded.

    Args:
        ct: File, folder or zip.
        choice: The model.
        terminal: The streams of the command.
        series: Series instance UID, or None.
        check: Refuses a volume whose result could not be written.
    """
    with controlled(terminal) as control:
        volume = read_volume(ct, series=series)
        if check is not None:
            check(volume)
        with engine_of(choice, control) as engine, engine.open(volume) as session:
            yield session, control
