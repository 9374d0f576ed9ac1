"""Engines that must behave alike; a new implementation is added to the list and passes the same suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from random_bundles import save_random_bundle

from colipri_core.engine import Engine
from colipri_core.engine import open_engine

ENGINES = ("local",)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_bundle(tmp_path_factory.mktemp("bundles") / "random")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, bundle: Path, tmp_path: Path) -> Iterator[Engine]:
    assert request.param == "local"
    with open_engine(bundle, device="cpu", cache_dir=tmp_path / "cache") as engine:
        yield engine
