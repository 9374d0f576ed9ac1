"""Fixtures for the plugin's tests."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from napari.components import ViewerModel
from scenes import OBLIQUE
from scenes import add_volume
from scenes import chest_like
from scenes import dock_on
from scripted_engine import ScriptedEngine

from colipri_core.volume import Volume
from napari_colipri import preferences
from napari_colipri.dock import ColipriDock


@pytest.fixture(autouse=True)
def edits_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where edits are saved: never the user's own folder."""
    monkeypatch.setenv("COLIPRI_EDITS_DIR", str(tmp_path / "edits"))
    return tmp_path / "edits"


@pytest.fixture(autouse=True)
def kept_settings(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What napari's preferences keep of the plugin: never the user's own."""
    settings = SimpleNamespace(use_server=False, server_url="")
    monkeypatch.setattr(preferences, "_settings", lambda: settings)
    monkeypatch.setattr(preferences, "_tokens", {})
    monkeypatch.setattr(preferences, "_keyring", lambda: None)
    monkeypatch.delenv("COLIPRI_SERVER_TOKEN", raising=False)
    return settings


@pytest.fixture
def volume() -> Volume:
    return chest_like()


@pytest.fixture
def oblique_volume() -> Volume:
    return chest_like(affine=OBLIQUE)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def viewer() -> ViewerModel:
    """A viewer without a window: layers, dims, camera and events are all there."""
    return ViewerModel()


@pytest.fixture
def dock(viewer: ViewerModel, engine: ScriptedEngine, volume: Volume, qtbot) -> Iterator[ColipriDock]:
    """The dock on a viewer that holds one CT, with the scripted engine."""
    add_volume(viewer, volume)
    dock = dock_on(viewer, engine)
    dock.resize(380, 900)
    dock.show()
    qtbot.addWidget(dock)
    yield dock
    engine.gate.set()


@pytest.fixture
def settle(qtbot) -> Callable[[ColipriDock], None]:
    """Wait until a dock has nothing left to do."""

    def wait(dock: ColipriDock) -> None:
        qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=20_000)

    return wait
