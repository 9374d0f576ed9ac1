"""The managed local server: its own virtual environment, made on request, and a child process that is ended as a tree.

Nothing of it touches Slicer's packages: pip runs inside the environment, with the environment variables that Slicer
itself was started with. Children have a session (POSIX) or a process group (Windows) of their own, so that the
server's workers end with it. All states change in `poll`, which a timer calls; threads only read what children print.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

TOKEN_VARIABLE = "COLIPRI_SERVER_TOKEN"
EXTRAS = "[local,server,index]"
PACKAGE = f"napari-colipri{EXTRAS}"
LOG_LINES = 400
HEALTH_EVERY_S = 0.25
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
_PYTHONS = ("python3.13", "python3.12", "python3.11", "python3", "python")
_SLICERS_OWN = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

STATES = ("absent", "installing", "stopped", "starting", "running", "failed")
"""What a managed server can be: "stopped" is installed and not running."""


class ManagedServer:
    """A server of this machine that this module installs, starts and stops.

    Args:
        folder: Where the environment and the server's state lie.
        environment: Environment variables of the children; None for this process's, without what Slicer added.
    """

    def __init__(self, folder: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.url = ""
        self.token = ""
        self.problem = ""
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._environment = clean_environment(os.environ if environment is None else environment)
        self._commands: deque[list[str]] = deque()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._state = "stopped" if self.command is not None else "absent"
        self._deadline = self._next_look = 0.0

    @property
    def state(self) -> str:
        """One of `STATES`."""
        return self._state

    @property
    def environment_folder(self) -> Path:
        """Folder of the virtual environment."""
        return self.folder / "environment"

    @property
    def command(self) -> Path | None:
        """The server's program in the environment, None before it is installed."""
        scripts = "Scripts" if os.name == "nt" else "bin"
        program = self.environment_folder / scripts / ("colipri.exe" if os.name == "nt" else "colipri")
        return program if program.is_file() else None

    def install(self, python: str, *, package: str = PACKAGE, options: Sequence[str] = ()) -> None:
        """Begin to make the environment and install the server in it; `poll` tells when it is done.

        Args:
            python: The interpreter it is made with.
            package: What pip installs.
            options: Further options of pip, such as a constraints file.

        Raises:
            RuntimeError: If something is being installed or running already.
        """
        self._refuse_if_busy()
        own = self.environment_folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self._commands = deque(
            [
                [python, "-m", "venv", "--clear", str(self.environment_folder)],
                [str(own), "-m", "pip", "install", "--disable-pip-version-check", *options, package],
            ]
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._become("installing")
        self._launch(self._commands.popleft())

    def start(self, model: str, *, device: str = "auto", options: Sequence[str] = ()) -> None:
        """Begin to start the server on a free port of this machine, with a token of its own.

        Args:
            model: What `colipri serve --model` takes.
            device: What its `--device` takes.
            options: Further options of `colipri serve`.

        Raises:
            RuntimeError: If it is not installed, or running already.
        """
        self._refuse_if_busy()
        program = self.command
        if program is None:
            msg = "Expected the server to be installed, found no environment. Install it first."
            raise RuntimeError(msg)
        self.token, self.url = secrets.token_urlsafe(32), ""
        state = self.folder / "state"
        arguments = ["serve", "--json", "--port", "0", "--model", model, "--device", device, "--state", str(state)]
        self._become("starting")
        self._deadline = time.monotonic() + START_TIMEOUT_S
        self._launch([str(program), *arguments, *options], extra={TOKEN_VARIABLE: self.token})

    def poll(self) -> bool:
        """Take note of what the children did.

        Returns:
            Whether anything changed.
        """
        before = self._state
        printed = self._read_lines()
        if self._process is not None:
            exit_status = self._process.poll()
            if exit_status is not None:
                self._ended(exit_status)
            elif self._state == "starting":
                self._look_for_health()
        return printed or before != self._state

    def stop(self) -> None:
        """End whatever runs, with all its children, and wait for it."""
        self._commands.clear()
        process, self._process = self._process, None
        if process is not None:
            end_tree(process)
        self._read_lines()
        self.url = ""
        self._become("stopped" if self.command is not None else "absent")

    def remove(self) -> None:
        """Stop the server and delete its environment and what it kept."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._become("absent")

    def tail(self, lines: int = 12) -> str:
        """What was printed last.

        Args:
            lines: How many lines.
        """
        return "\n".join(list(self.log)[-lines:])

    def _launch(self, command: list[str], extra: Mapping[str, str] | None = None) -> None:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self._environment, **(extra or {})},
                cwd=self.folder,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            self._fail(f'"{Path(command[0]).name}" could not be started: {error.strerror}.')
            return
        self._process = process
        threading.Thread(target=_read, args=(process, self._lines), name="colipri-server-log", daemon=True).start()

    def _read_lines(self) -> bool:
        printed = False
        while True:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return printed
            printed = True
            self.log.append(line)
            if self._state == "starting" and not self.url:
                self.url = _url_in(line)

    def _ended(self, exit_status: int) -> None:
        self._process = None
        self._read_lines()
        if exit_status == 0 and self._commands:
            self._launch(self._commands.popleft())
        elif exit_status == 0 and self._state == "installing" and self.command is not None:
            self._become("stopped")
        else:
            doing = {"installing": "Installing the server", "starting": "Starting the server"}
            self._fail(f"{doing.get(self._state, 'The server')} ended with status {exit_status}.")

    def _look_for_health(self) -> None:
        now = time.monotonic()
        if now > self._deadline:
            self.stop()
            self._fail(f"The server did not answer within {START_TIMEOUT_S:g} s.")
        elif self.url and now >= self._next_look:
            self._next_look = now + HEALTH_EVERY_S
            if is_healthy(self.url):
                self._become("running")

    def _fail(self, problem: str) -> None:
        self._commands.clear()
        self.url = ""
        self._become("failed")
        self.problem = f"{problem} Its last words:\n{self.tail()}" if self.log else problem

    def _become(self, state: str) -> None:
        assert state in STATES
        self._state, self.problem = state, ""

    def _refuse_if_busy(self) -> None:
        if self._process is not None:
            msg = f"Expected no managed server at work, found it {self._state}. Stop it first."
            raise RuntimeError(msg)


def store_options(store: str, scans: str) -> tuple[str, ...]:
    """Options of `colipri serve` that offer a case store, under the name of its folder.

    Args:
        store: Its folder; empty for none.
        scans: The folder below which its scans lie, which may then be opened; empty for none.
    """
    name = Path(store).stem.replace("=", "-")
    return (*(("--store", f"{name}={store}") if store else ()), *(("--root", scans) if scans else ()))


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables without those by which Slicer points its own Python at its own libraries."""
    return {name: value for name, value in variables.items() if name.upper() not in _SLICERS_OWN}


def find_python(path: str | None = None) -> str | None:
    """A Python of 3.11 or newer that can make virtual environments, outside Slicer; None if there is none.

    Args:
        path: Search path; None for the environment's.
    """
    for name in _PYTHONS:
        found = shutil.which(name, path=path)
        if found is None or Path(found).resolve() == Path(sys.executable).resolve():
            continue
        check = "import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))"
        try:
            result = subprocess.run(
                [found, "-c", check], env=clean_environment(os.environ), capture_output=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if result.returncode == 0:
            return found
    return None


def is_healthy(url: str) -> bool:
    """Whether a server answers; a proxy of the environment is not asked.

    Args:
        url: Its address.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/healthz", timeout=1.0) as answer:
            return bool(json.load(answer).get("status") == "ok")
    except (OSError, ValueError, AttributeError):
        return False


def end_tree(process: subprocess.Popen[str]) -> None:
    """End a child with all its children: kindly first, then by force.

    Args:
        process: A child that leads a session or group of its own.
    """
    if os.name == "nt":
        subprocess.run(["taskkill", "/PID", str(process.pid), "/T", "/F"], capture_output=True, check=False)
        process.wait(STOP_TIMEOUT_S)
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.wait(STOP_TIMEOUT_S)


def _read(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            lines.put(line.rstrip())


def _url_in(line: str) -> str:
    try:
        return str(json.loads(line)["url"])
    except (ValueError, TypeError, KeyError):
        return ""
