"""What a verb writes and where: results on stdout, everything else on stderr, Ctrl-C as a cancellation."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from colipri_core.errors import VolumeWarning
from colipri_core.io.suffixes import matching_suffix
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback

logger = logging.getLogger(__name__)


class Terminal:
    """The two streams of one command.

    Args:
        json: Results are one JSON document instead of text.
        quiet: No progress bar, no log lines below errors.
    """

    def __init__(self, *, json: bool, quiet: bool) -> None:
        self.json = json
        self.quiet = quiet
        self._shown: set[str] = set()
        _log_to_stderr(logging.ERROR if quiet else logging.WARNING)
        warnings.showwarning = self._show_warning

    def result(self, document: dict[str, Any], show: Callable[[], object]) -> None:
        """Write the result of the command.

        Args:
            document: The result as JSON values.
            show: Returns the same for people, as something rich can print.
        """
        if self.json:
            sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
            return
        from rich.console import Console

        Console(file=sys.stdout, highlight=False).print(show())

    def warn(self, messages: Sequence[str]) -> None:
        """Write warnings to stderr, each once."""
        for message in messages:
            if not self.quiet and message not in self._shown:
                sys.stderr.write(f"warning: {message}\n")
            self._shown.add(message)

    def error(self, message: str) -> None:
        """Write an error that does not end the command to stderr."""
        sys.stderr.write(f"error: {message}\n")

    def _show_warning(self, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        """A reader's warnings are for people; those of the libraries below are for developers."""
        if issubclass(category, VolumeWarning):
            self.warn([str(message)])
        else:
            logger.info("%s: %s", category.__name__, message)

    @contextlib.contextmanager
    def progress(self) -> Iterator[ProgressCallback | None]:
        """Show a progress bar on stderr while the body runs, if stderr is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(file=sys.stderr), transient=True) as bars:
            task = bars.add_task("Starting", total=1.0)

            def report(fraction: float, message: str) -> None:
                bars.update(task, completed=fraction, description=message or None)

            yield report


@contextlib.contextmanager
def cancel_on_interrupt() -> Iterator[CancelToken]:
    """Let the first Ctrl-C cancel the work at its next step; a second one ends it at once."""
    token = CancelToken()
    if threading.current_thread() is not threading.main_thread():
        yield token
        return

    def cancel(number: int, frame: FrameType | None) -> None:
        token.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, cancel)
    try:
        yield token
    finally:
        signal.signal(signal.SIGINT, previous)


def check_output(path: Path, *, suffixes: Sequence[str]) -> None:
    """Refuse an output path before any work is done for it.

    Args:
        path: Where the result is to go.
        suffixes: Endings the command can write.

    Raises:
        ValueError: If the ending is unknown, the folder is missing or not writable, or the path is a folder.
    """
    matching_suffix(path, tuple(suffixes))
    folder = path.resolve().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "is a folder" if path.is_dir() else "has no folder that can be written to"
        msg = f'The output "{path}" {what}. Name a file in a folder that exists and is yours.'
        raise ValueError(msg)


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("colipri_core")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
