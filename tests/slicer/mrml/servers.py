"""The real server for tests in an environment without torch: a process of another Python that has it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PYTHON_VARIABLE = "COLIPRI_SERVER_PYTHON"
START_S = 180
_COMMAND = "from colipri_core.cli.main import run; raise SystemExit(run())"


def server_python() -> str | None:
    """The Python that serves: of `$COLIPRI_SERVER_PYTHON`, or of the checkout's .venv; None if there is none."""
    named = os.environ.get(PYTHON_VARIABLE)
    own = ROOT / ".venv" / "bin" / "python"
    return named or (str(own) if own.is_file() else None)


class RealServer:
    """`colipri serve` in a process of its own.

    Args:
        state: Its state folder; a second server with the same one takes up what the first left.
        port: Its port; 0 for any that is free.
        environment: Further environment variables.
        options: Further options.
    """

    def __init__(
        self, state: Path, *, port: int = 0, environment: Mapping[str, str] = {}, options: tuple[str, ...] = ()
    ) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.log = state / "server.log"
        python = server_python()
        assert python is not None
        arguments = ["--model", "tiny", "--device", "cpu", "--state", str(state), "--port", str(port), *options]
        with self.log.open("a", encoding="utf-8") as stream:
            self.process = subprocess.Popen(
                [python, "-c", _COMMAND, "serve", "--json", *arguments],
                stdout=subprocess.PIPE,
                stderr=stream,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server did not start: {self.log.read_text(encoding='utf-8')}"
        self.url: str = json.loads(line)["url"]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def serving(state: Path, **settings: object) -> Iterator[RealServer]:
    """Serve while the body runs."""
    server = RealServer(state, **settings)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


def local_results(image: Path, transform: Path, folder: Path) -> dict[str, Path]:
    """What the engine says without server and Slicer, of a file moved by a transform: written by the other Python.

    Args:
        image: The scan.
        transform: JSON with the matrix it is moved by, and the affine to use.
        folder: Where to write.
    """
    python = server_python()
    assert python is not None
    script = Path(__file__).with_name("local_results.py")
    subprocess.run(
        [python, str(script), str(image), str(transform), str(folder)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=sys.stderr,
    )
    return {path.stem: path for path in folder.iterdir()}
