"""The Model panel with a server: chosen, remembered, tested, lost in the middle of work and found again."""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace

import numpy as np
import pytest
from chests import chest
from napari.components import ViewerModel
from npe2 import PluginManager
from npe2 import PluginManifest
from random_bundles import save_random_bundle
from scenes import add_volume
from scenes import chest_like
from support.serving import serving

from colipri_core.cases import CaseSource
from colipri_core.editing.edits import Paint
from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.index import open_store
from colipri_core.index.add import encode_volume
from colipri_core.progress import Reporter
from colipri_core.prompts import Crop
from colipri_core.remote.client import RemoteEngine
from colipri_core.remote.client import Timeouts
from napari_colipri import preferences
from napari_colipri.backend import Request
from napari_colipri.dock import ColipriDock

TIMEOUT_MS = 60_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("served")
    with open_engine(save_random_bundle(folder / "random"), device="cpu", cache_dir=folder / "cache") as engine:
        yield engine


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give lost servers up soon."""
    quick = functools.partial(RemoteEngine, timeouts=Timeouts(connect=1, reconnect=0.4))
    monkeypatch.setattr("napari_colipri.backend.RemoteEngine", quick)


@pytest.fixture
def dock(viewer: ViewerModel, qtbot) -> Iterator[ColipriDock]:
    add_volume(viewer, chest_like())
    dock = ColipriDock(viewer)
    qtbot.addWidget(dock)
    yield dock
    dock.shutdown()


@pytest.fixture
def said(dock: ColipriDock) -> list[str]:
    """All that napari's status line showed."""
    lines: list[str] = []
    dock.viewer.events.status.connect(lambda event: lines.append(str(event.value)))
    return lines


@pytest.fixture
def idle(qtbot):
    def wait(dock: ColipriDock) -> None:
        qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=TIMEOUT_MS)

    return wait


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pick(dock: ColipriDock, place: str) -> None:
    """Choose where the model runs, as the mouse does."""
    places = dock.model_panel.places
    places.setCurrentText(place)
    places.activated.emit(places.currentIndex())


def choose(dock: ColipriDock, url: str, token: str = "") -> None:
    """What a user does: choose the server, type, and leave the fields."""
    panel = dock.model_panel
    pick(dock, "A server")
    panel.server.url.setText(url)
    panel.server.url.editingFinished.emit()
    panel.server.token.setText(token)
    panel.server.token.editingFinished.emit()


class TestWork:
    def test_a_server_analyses_as_this_computer_does(self, dock, served: Engine, idle) -> None:
        with serving(served) as url:
            choose(dock, url)
            dock.model_panel.analyse.click()
            idle(dock)
            rows = dock.findings_panel.model.rows
            outlined = dock.workflow.case.source.grid.to_volume(dock.viewer.layers["structures: chest-like"].data)
        volume = dock.workflow.case.source.volume
        with served.open(volume) as session:
            expected = [item.probability for item in session.classify().sorted()]
            labelmap = session.segment().labelmap
        assert [row.probability for row in rows] == pytest.approx(expected, abs=1e-6)
        assert np.array_equal(outlined, labelmap)
        assert dock.error_bar.label.text() == ""

    def test_its_case_stores_are_offered_and_searched(self, dock, served: Engine, idle, tmp_path: Path) -> None:
        store = open_store(tmp_path / "store", "w")
        store.add([encode_volume(served, CaseSource(case="earlier", path="/elsewhere/ct.nii.gz"), chest(seed=3))])
        panel = dock.similar.panel
        with serving(served, stores={"ward": str(tmp_path / "store")}) as url:
            choose(dock, url)
            dock.model_panel.analyse.click()
            idle(dock)
            assert (panel.store.text(), panel.store.completer().model().stringList()) == ("ward", ["ward"])
            panel.similar.click()
            idle(dock)
            assert [row.name for row in panel.model.rows] == ["earlier"]
            panel.searched.emit("lung nodule")
            idle(dock)
            assert dock.error_bar.label.text() == ""
            dock.similar.cases.open(panel.model.rows[0])
            idle(dock)
            assert "not on this machine" in dock.error_bar.label.text()

    def test_a_server_that_is_gone_is_said_with_the_remedy(
        self, dock, served: Engine, impatient, idle, said: list[str]
    ) -> None:
        with serving(served) as url:
            choose(dock, url)
            dock.model_panel.analyse.click()
            idle(dock)
        dock.findings_panel.asked.emit("halo sign")
        idle(dock)
        assert "colipri serve" in dock.error_bar.label.text()
        assert any("was lost" in line for line in said)
        assert len(dock.findings_panel.model.rows) == 18

    def test_a_server_that_comes_back_goes_on_with_the_labels(
        self, dock, served: Engine, idle, qtbot, said: list[str], tmp_path: Path
    ) -> None:
        port, settings = free_port(), {"state": tmp_path / "state"}
        backend, voxels = dock.workflow.backend, Crop(lower=(2, 2, 2), mask=np.ones((3, 3, 3), dtype=bool))
        with serving(served, port=port, **settings) as url:
            choose(dock, url)
            dock.model_panel.analyse.click()
            idle(dock)
            case = dock.workflow.case
            request = Request(choice=dock.workflow.choice, volume=case.source.volume)
            _, session, _ = backend.open(request, Reporter(), None)
            session.edit(Paint(voxels=voxels, label=1))
        with contextlib.ExitStack() as stack:
            back = threading.Timer(0.5, lambda: stack.enter_context(serving(served, port=port, **settings)))
            back.start()
            session.edit(Paint(voxels=voxels, label=2))
            back.join()
            qtbot.waitUntil(lambda: any("again" in line for line in said), timeout=TIMEOUT_MS)
            assert session.editing.undo == ("paint", "paint")
            session.undo()
            assert session.editing.voxels == {1: 27}
        assert "No edit was lost" in dock.model_panel.server.answer.text()


class TestConnection:
    def test_it_says_which_model_answers(self, dock, served: Engine, idle) -> None:
        with serving(served) as url:
            choose(dock, url)
            dock.model_panel.server.test.click()
            idle(dock)
        words = dock.model_panel.server.answer.text()
        assert "random on cpu" in words
        assert "ms a round trip" in words

    @pytest.mark.parametrize(
        ("url", "remedy"),
        [("http://127.0.0.1:{port}", "colipri serve"), ("gpu-host:8765", "http://"), ("", "http://")],
    )
    def test_it_says_what_to_do_where_nothing_answers(self, dock, idle, url: str, remedy: str) -> None:
        choose(dock, url.format(port=free_port()))
        dock.model_panel.server.test.click()
        idle(dock)
        assert remedy in dock.model_panel.server.answer.text()
        assert dock.error_bar.label.text() == ""

    def test_a_wrong_token_and_the_right_one(self, dock, served: Engine, idle) -> None:
        with serving(served, token="correct-horse-battery") as url:
            choose(dock, url, "wrong-horse-battery")
            dock.model_panel.server.test.click()
            idle(dock)
            assert "token" in dock.model_panel.server.answer.text()
            choose(dock, url, "correct-horse-battery")
            dock.model_panel.server.test.click()
            idle(dock)
            assert "random on cpu" in dock.model_panel.server.answer.text()


class TestMemory:
    def test_the_next_window_has_the_same_server_but_no_file_has_the_token(
        self, dock, kept_settings: SimpleNamespace, viewer, qtbot
    ) -> None:
        choose(dock, "http://gpu-host:8765", "a-token-of-this-session")
        assert vars(kept_settings) == {"use_server": True, "server_url": "http://gpu-host:8765"}
        second = ColipriDock(viewer)
        qtbot.addWidget(second)
        assert second.workflow.choice == dock.workflow.choice
        assert second.workflow.choice.token == "a-token-of-this-session"
        assert "a-token" not in repr(second.workflow.choice)
        pick(dock, "This computer")
        assert not kept_settings.use_server
        assert kept_settings.server_url == "http://gpu-host:8765"
        assert dock.workflow.choice.model == "tiny"
        dock.model_panel.set_choice("http://script:1", "auto")
        assert dock.workflow.choice.model == "http://script:1"
        assert not kept_settings.use_server
        second.shutdown()

    def test_a_keyring_keeps_tokens_where_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept: dict[tuple[str, str], str] = {}
        keyring = ModuleType("keyring")
        keyring.set_password = lambda service, user, token: kept.update({(service, user): token})
        keyring.get_password = lambda service, user: kept.get((service, user))
        keyring.errors = SimpleNamespace(KeyringError=RuntimeError)
        monkeypatch.undo()
        monkeypatch.setitem(sys.modules, "keyring", keyring)
        monkeypatch.setattr(preferences, "_tokens", {})
        preferences.keep_token("http://a:1", "first-token")
        assert kept == {("napari-colipri", "http://a:1"): "first-token"}
        monkeypatch.setattr(preferences, "_tokens", {})
        assert preferences.token_of("http://a:1") == "first-token"

    def test_without_either_the_environment_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLIPRI_SERVER_TOKEN", "from-the-environment")
        assert preferences.token_of("http://b:1") == "from-the-environment"

    def test_naparis_preferences_have_a_page_for_it(self) -> None:
        from napari.settings._plugin_config_generator import plugin_configuration_generator

        manager = PluginManager()
        manager.register(PluginManifest.from_file(ROOT / "napari.yaml"))
        settings = plugin_configuration_generator(manager)["napari-colipri"](config_path=None)
        assert (settings.model.use_server, settings.model.server_url) == (False, "")
        assert not any("token" in name for name in type(settings.model).model_fields)
