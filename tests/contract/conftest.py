"""Engines that must behave alike, in this process and behind a URL; a new one is added to the list of places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from random_bundles import save_random_bundle
from support.places import PLACES
from support.places import placed

from colipri_core.engine import Engine
from colipri_core.engine import open_engine


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_bundle(tmp_path_factory.mktemp("bundles") / "random")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(place: str, bundle: Path, tmp_path: Path) -> Iterator[Engine]:
    with open_engine(bundle, device="cpu", cache_dir=tmp_path / "cache") as local, placed(local, place) as engine:
        yield engine
