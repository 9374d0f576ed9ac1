"""A display for the viewer where there is none: Xvfb, a virtual X server that draws into memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

from colipri_core.errors import MissingDependencyError

SCREEN = "1920x1200x24"
_STOP_TIMEOUT_S = 20.0


def has_display() -> bool:
    """Whether windows can be opened: always off Linux, else when X11 or Wayland is there."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def virtual_display() -> Iterator[str]:
    """Run an X server in memory and point this process at it; it ends with the context.

    The server chooses a free display number itself and tells it through a pipe.

    Yields:
        The display, such as ":12".

    Raises:
        MissingDependencyError: If Xvfb is not installed or does not start.
    """
    binary = shutil.which("Xvfb")
    if binary is None:
        msg = (
            "Expected a display or the virtual one Xvfb, found neither. "
            "Install it with: apt-get install xvfb libxcb-icccm4 libxcb-keysyms1 libxcb-xinerama0"
        )
        raise MissingDependencyError(msg)
    reader, writer = os.pipe()
    command = [binary, "-displayfd", str(writer), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writer)
    before = {name: os.environ.get(name) for name in ("DISPLAY", "QT_QPA_PLATFORM")}
    try:
        display = _read_display(reader)
        os.environ["DISPLAY"] = display
        os.environ["QT_QPA_PLATFORM"] = "xcb"
        yield display
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        server.terminate()
        server.wait(timeout=_STOP_TIMEOUT_S)


def _read_display(reader: int) -> str:
    """Read the number the server writes once it is ready; an empty answer means that it ended."""
    with os.fdopen(reader) as pipe:
        number = pipe.readline().strip()
    if not number:
        msg = "The virtual display Xvfb did not start. Run Xvfb by hand to see why, or set DISPLAY."
        raise MissingDependencyError(msg)
    return f":{number}"
