"""Servers in processes of their own, and an engine with a small bundle of random weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from random_bundles import save_random_bundle

from colipri_core.engine import Engine
from colipri_core.engine import open_engine

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


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("local")
    with open_engine(save_random_bundle(folder / "random"), device="cpu", cache_dir=folder / "cache") as engine:
        yield engine


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LightServer]]:
    """Start a server process; all are ended with the test."""
    running: list[LightServer] = []

    def begin(*, state: str = "state", port: int = 0) -> LightServer:
        running.append(LightServer(tmp_path / state, port))
        return running[-1]

    yield begin
    for server in running:
        server.kill()
