"""The managed server as real processes: an environment made by pip, a start, a death, and the end of the whole tree."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import extension  # noqa: F401 - makes ColipriLib importable
import pytest

from ColipriLib import server_process
from ColipriLib.server_process import TOKEN_VARIABLE
from ColipriLib.server_process import ManagedServer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="looks at processes by POSIX means")

WAIT_S = 120.0
SERVER = '''
"""A program with the command line of `colipri serve` that answers /healthz, and has a child of its own."""
import http.server, json, os, subprocess, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ok"}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

def main():
    model = sys.argv[sys.argv.index("--model") + 1]
    if model == "missing":
        print("Expected a model, found none", flush=True)
        raise SystemExit(4)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print("token of", len(os.environ["COLIPRI_SERVER_TOKEN"]), "letters; child", child.pid, flush=True)
    print("PYTHONHOME" in os.environ, flush=True)
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
    server.serve_forever()
'''


def make_wheel(folder: Path) -> Path:
    """A wheel with a program `colipri`, so that pip installs for real and needs no network."""
    path = folder / "tiny_server-1.0-py3-none-any.whl"
    info = "tiny_server-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_server.py", SERVER)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-server\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ncolipri = tiny_server:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def until(server: ManagedServer, *states: str) -> None:
    ending = time.monotonic() + WAIT_S
    while server.state not in states:
        server.poll()
        assert time.monotonic() < ending, (server.state, server.tail())
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a server that was installed for real."""
    folder = tmp_path_factory.mktemp("managed") / "server"
    wheel = make_wheel(tmp_path_factory.mktemp("wheel"))
    server = ManagedServer(folder)
    assert server.state == "absent"
    server.install(sys.executable, package=str(wheel), options=["--no-index"])
    until(server, "stopped", "failed")
    assert server.state == "stopped", server.problem
    return folder


@pytest.fixture
def server(installed: Path) -> Iterator[ManagedServer]:
    made = ManagedServer(installed, environment={**os.environ, "PYTHONHOME": "/nowhere"})
    yield made
    made.stop()


def test_it_starts_answers_and_ends_with_its_children(server: ManagedServer) -> None:
    server.start("tiny")
    until(server, "running", "failed")
    assert server.state == "running", server.problem
    child = int(server.log[0].rsplit(" ", 1)[1])
    assert server_process.is_healthy(server.url)
    assert is_alive(child)

    server.stop()

    assert server.state == "stopped"
    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child)


def test_it_has_a_token_and_none_of_slicers_variables(server: ManagedServer) -> None:
    server.start("tiny")
    until(server, "running", "failed")

    assert server.log[0].startswith(f"token of {len(server.token)} letters")
    assert len(server.token) >= 32
    assert server.log[1] == "False", "PYTHONHOME of Slicer reached the server"
    assert TOKEN_VARIABLE not in os.environ


def test_its_death_is_noticed(server: ManagedServer) -> None:
    server.start("tiny")
    until(server, "running", "failed")
    assert server._process is not None
    os.killpg(server._process.pid, 9)
    until(server, "failed")

    assert "status -9" in server.problem
    server.start("tiny")
    until(server, "running", "failed")
    assert server.state == "running"


def test_a_failed_start_shows_its_last_words(server: ManagedServer) -> None:
    server.start("missing")
    until(server, "failed")

    assert "status 4" in server.problem
    assert "Expected a model, found none" in server.problem


def test_it_is_not_started_twice(server: ManagedServer) -> None:
    server.start("tiny")
    with pytest.raises(RuntimeError, match="Stop it first"):
        server.start("tiny")


def test_it_is_not_started_before_it_is_installed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Install it first"):
        ManagedServer(tmp_path / "none").start("tiny")


def test_a_failed_installation_is_said(tmp_path: Path) -> None:
    server = ManagedServer(tmp_path / "server")
    server.install(str(tmp_path / "no-python"))

    assert server.state == "failed"
    assert "no-python" in server.problem


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    server = ManagedServer(tmp_path / "server")
    (tmp_path / "server" / "environment").mkdir(parents=True)
    server.remove()

    assert not (tmp_path / "server").exists()
    assert server.state == "absent"


def test_nothing_answers_on_a_closed_port() -> None:
    assert not server_process.is_healthy("http://127.0.0.1:9")


def test_a_python_outside_slicer_is_found() -> None:
    found = server_process.find_python()

    if found is not None:
        check = subprocess.run(
            [found, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, check=True
        )
        assert check.stdout.strip() == b"True"
    assert server_process.find_python(path="/nowhere") is None


@pytest.mark.parametrize(
    ("store", "scans", "options"),
    [
        ("", "", ()),
        ("/cases/lab.store", "", ("--store", "lab=/cases/lab.store")),
        ("/cases/a=b", "/scans", ("--store", "a-b=/cases/a=b", "--root", "/scans")),
    ],
)
def test_a_case_store_is_offered_under_the_name_of_its_folder(store: str, scans: str, options: tuple[str, ...]) -> None:
    assert server_process.store_options(store, scans) == options
