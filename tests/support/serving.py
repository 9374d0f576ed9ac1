"""The real server for tests: `serving` in a thread of this process, `served_process` in one that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Self

from colipri_core.engine import Engine
from colipri_core.remote.server.run import Server
from colipri_core.remote.server.run import reserved
from colipri_core.remote.server.settings import ServerSettings

_START_S = 120
_STOP_S = 60


@contextlib.contextmanager
def serving(engine: Engine, **settings: Any) -> Iterator[str]:
    """Serve an engine on a free loopback port while the body runs; yields the URL.

    Args:
        engine: The engine; it is not closed.
        **settings: Fields of `ServerSettings`; without `state`, a folder that is deleted afterwards.
    """
    with contextlib.ExitStack() as stack:
        if "state" not in settings:
            settings["state"] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ready = threading.Event()
        chosen = ServerSettings(**{"port": 0, **settings})
        server = Server(engine, chosen, stack.enter_context(reserved(chosen)), lambda _: ready.set())
        thread = threading.Thread(target=server.run, name="server", daemon=True)
        thread.start()
        try:
            assert ready.wait(_START_S), "the server did not start"
            yield server.url
        finally:
            server.should_exit = True
            thread.join(_STOP_S)
            assert not thread.is_alive(), "the server did not stop"


class ServedProcess:
    """A server in a process of its own; made by `served_process`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        line = process.stdout.readline() if process.stdout else ""
        assert line, f"the server did not start: {log.read_text(encoding='utf-8')}"
        self.url: str = json.loads(line)["url"]

    @classmethod
    def start(cls, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> Self:
        """Run `colipri serve` and wait until it is ready."""
        command = "from colipri_core.cli.main import run; raise SystemExit(run())"
        with log.open("a", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", command, "serve", "--json", *arguments],
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, **environment},
                text=True,
            )
        try:
            return cls(process, log)
        except BaseException:
            process.kill()
            raise

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait(_STOP_S)

    def stop(self, *, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit status."""
        self.process.send_signal(by)
        return self.process.wait(_STOP_S)


@contextlib.contextmanager
def served_process(
    model: str | Path, *, state: Path, port: int = 0, options: Sequence[str] = (), environment: Mapping[str, str] = {}
) -> Iterator[ServedProcess]:
    """Serve a model from another process while the body runs; its log is `state`/server.log.

    Args:
        model: What `--model` takes.
        state: Its state folder; give a second server the same one to let it take up what the first left.
        port: Its port; 0 for any that is free.
        options: Further options of `colipri serve`.
        environment: Further environment variables, such as COLIPRI_SERVER_TOKEN.
    """
    state.mkdir(parents=True, exist_ok=True)
    arguments = ["--model", str(model), "--device", "cpu", "--state", str(state), "--port", str(port), *options]
    server = ServedProcess.start(arguments, log=state / "server.log", environment=environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        if server.process.stdout:
            server.process.stdout.close()
