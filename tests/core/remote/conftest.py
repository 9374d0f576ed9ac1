"""Servers in processes of their own, and an engine with a small bundle of random weights."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from light_servers import LightServer
from random_bundles import save_random_bundle

from colipri_core.engine import Engine
from colipri_core.engine import open_engine


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
