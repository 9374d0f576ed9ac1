"""LightServer: a server without a model, in a process of its own that a test may kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("light_server.py")


class LightServer:
    """A server process without a model.

    Args:
        state: Its state folder.
        port: Its port; 0 for any that is free.
    """

    def __init__(self, state: Path, port: int) -> None:
        state.mkdir(exist_ok=True)
        self._log = (state / "server.log").open("a", encoding="utf-8")
        command = [sys.executable, str(_PROGRAM), str(state), str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, (state / "server.log").read_text(encoding="utf-8")

    def kill(self) -> None:
        """End it as `kill -9` does; twice does nothing."""
        self._process.kill()
        self._process.wait(30)
        self._process.stdout.close()
        self._log.close()
