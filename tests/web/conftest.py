"""A server of a model of random weights, with the browser view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chests import chest
from pages import Page
from random_bundles import save_random_bundle
from support.serving import serving

from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.io import write_volume

LIBRARY = b"export class Niivue {}\nexport class NVImage {}\n"
"""Stands for the viewer library where nothing is drawn."""


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("web")
    with open_engine(save_random_bundle(folder / "random"), device="cpu", cache_dir=folder / "cache") as engine:
        yield engine


@pytest.fixture(scope="session")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_volume(chest(), tmp_path_factory.mktemp("ct") / "chest.nii.gz")


@pytest.fixture(autouse=True)
def without_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test but that of the browser asks the registry."""
    monkeypatch.setattr("colipri_core.remote.web.library_module", lambda: LIBRARY)


@pytest.fixture
def url(engine: Engine, ct: Path) -> Iterator[str]:
    with serving(engine, web=True, cases=(ct,)) as url:
        yield url


@pytest.fixture
def page(url: str) -> Page:
    return Page(url)
