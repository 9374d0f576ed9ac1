"""Servers that die, hang, refuse or forget: nothing acknowledged is lost, nothing is made twice, and errors help."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
from chests import chest
from scripted_engine import ScriptedEngine
from support.serving import serving

from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.log import replay_log
from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.errors import ProtocolMismatchError
from colipri_core.errors import ServerTimeoutError
from colipri_core.errors import ServerTokenError
from colipri_core.errors import ServerUnreachableError
from colipri_core.prompts import Crop
from colipri_core.prompts import Point
from colipri_core.remote.client import RemoteEngine
from colipri_core.remote.client import Timeouts
from colipri_core.remote.client import check_connection
from colipri_core.remote.server.run import reserved
from colipri_core.remote.server.settings import Limits
from colipri_core.remote.server.settings import ServerSettings
from colipri_core.session import Session

if TYPE_CHECKING:
    from light_servers import LightServer

VOLUME = chest()
LUNG = (-53.0, 35.0, -250.0)
PATIENT = Timeouts(reconnect=60)


def stroke(number: int) -> Paint:
    """A small box of its own for each number."""
    corner = (2 + 3 * (number % 10), 2 + 3 * (number // 10), 4)
    return Paint(voxels=Crop(lower=corner, mask=np.ones((2, 2, 2), dtype=bool)), label=number + 1)


def check_strokes(session: Session, count: int) -> None:
    """Each stroke is there once: in the labels, in the history, and in the server's own labels."""
    assert session.editing.voxels == {number + 1: 8 for number in range(count)}
    assert len(session.editing.undo) == count
    assert np.array_equal(replay_log(session.edit_log()).labelmap, session.segmentation.labelmap)
    state = session.link._transport.json("GET", session.link.path)["state"]
    assert {int(label): voxels for label, voxels in state["voxels"].items()} == session.editing.voxels
    assert len(state["undo"]) == count


class TestKilled:
    @pytest.mark.parametrize("state", ["state", "another"], ids=["same state folder", "state folder lost"])
    def test_between_two_edits(self, start: Callable[..., LightServer], state: str) -> None:
        server = start()
        port = urlsplit(server.url).port
        with RemoteEngine(server.url, timeouts=PATIENT) as engine, engine.open(VOLUME) as session:
            for number in range(4):
                session.edit(stroke(number))
            session.undo()
            before = session.segmentation.labelmap
            server.kill()
            start(state=state, port=port)
            session.redo()
            session.edit(stroke(4))
            check_strokes(session, 5)
            for _ in range(2):
                session.undo()
            assert np.array_equal(session.segmentation.labelmap, before)
            assert len(session.classify()) == 18

    def test_during_edits(self, start: Callable[..., LightServer]) -> None:
        """The process is killed while strokes go on; the one under way is made once, whatever the server did of it."""
        server = start()
        port = urlsplit(server.url).port
        notices: list[str] = []

        def disturb() -> None:
            for _ in range(2):
                running = servers[-1]
                while len(session.editing.undo) < 8 * len(servers) and not stopped.is_set():
                    time.sleep(0.002)
                running.kill()
                servers.append(start(port=port))

        servers, stopped = [server], threading.Event()
        with (
            RemoteEngine(server.url, timeouts=PATIENT, notify=notices.append) as engine,
            engine.open(VOLUME) as session,
        ):
            killer = threading.Thread(target=disturb, daemon=True)
            killer.start()
            try:
                for number in range(40):
                    session.edit(stroke(number))
            finally:
                stopped.set()
                killer.join(60)
            check_strokes(session, 40)
        assert sum("lost" in notice for notice in notices) >= 2
        assert any("No edit was lost" in notice for notice in notices)

    def test_for_good(self, start: Callable[..., LightServer], tmp_path: Path) -> None:
        """The error says what to do; the labels stay usable, and the journal on this machine has them."""
        server = start()
        with RemoteEngine(server.url, timeouts=Timeouts(connect=1, reconnect=0.3)) as engine:
            session = engine.open(VOLUME, autosave=tmp_path / "edits")
            session.edit(stroke(0))
            server.kill()
            with pytest.raises(ServerUnreachableError, match=r"kept.*colipri serve"):
                session.edit(stroke(1))
            assert session.editing.voxels == {1: 8}
            session.close()
            with engine.open(VOLUME, autosave=tmp_path / "edits") as again:
                assert again.editing.recovered == 1
                assert again.segmentation.labelmap.sum() == 8


class TestSucceeded:
    """A server that comes back with another model, which must not be shown under the old one's name."""

    @pytest.mark.parametrize("state", ["state", "another"], ids=["same state folder", "state folder lost"])
    def test_by_another_model(self, state: str, tmp_path: Path) -> None:
        other, words = ScriptedEngine(), []
        other.card = dataclasses.replace(other.card, name="the successor", sha256="1" * 64)
        with contextlib.ExitStack() as servers:
            url = servers.enter_context(serving(ScriptedEngine(), state=tmp_path / "state"))
            with RemoteEngine(url, timeouts=PATIENT, notify=words.append) as engine, engine.open(VOLUME) as session:
                session.edit(stroke(0))
                assert engine.card.name != "the successor"
                servers.close()
                with serving(other, state=tmp_path / state, port=urlsplit(url).port or 0):
                    session.edit(stroke(1))
                    check_strokes(session, 2)
                    assert engine.card == other.card
        assert sum("the successor" in said for said in words) == 1


class TestForgotten:
    def test_a_lease_that_ran_out_costs_nothing(self, local: Engine) -> None:
        with (
            serving(local, limits=Limits(lease_s=0.2)) as url,
            RemoteEngine(url) as engine,
            engine.open(VOLUME) as session,
        ):
            engine._heart.stop()
            session.edit(stroke(0))
            time.sleep(1.5)
            session.edit(stroke(1))
            check_strokes(session, 2)

    def test_a_short_lease_does_not_run_out_while_a_session_is_held(self) -> None:
        held = ScriptedEngine()
        with (
            serving(held, limits=Limits(lease_s=1.2)) as url,
            RemoteEngine(url) as engine,
            engine.open(VOLUME) as session,
        ):
            session.edit(stroke(0))
            time.sleep(4)
            assert [there.closed for there in held.sessions] == [False]
            session.edit(stroke(1))

    def test_a_session_ended_by_somebody_else_is_seeded_anew(self, local: Engine) -> None:
        with serving(local) as url, RemoteEngine(url) as engine, engine.open(VOLUME) as session:
            session.edit(stroke(0))
            session.link._transport.json("DELETE", session.link.path)
            session.undo()
            session.redo()
            session.edit(stroke(1))
            check_strokes(session, 2)

    def test_an_edit_somebody_else_made_is_not_taken_for_ours(self, local: Engine) -> None:
        with serving(local) as url, RemoteEngine(url) as engine, engine.open(VOLUME) as session:
            session.edit(stroke(0))
            with RemoteEngine(url) as second, second.open(VOLUME) as intruder:
                intruder.edit(stroke(7))
                intruder._link._session = session.link._session
                intruder.edit(AddObject(name="not ours"))
            session.edit(stroke(1))
            check_strokes(session, 2)


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers what it is told to, or not at all."""

    protocol_version = "HTTP/1.1"
    headers_sent: dict[str, str] = {}  # noqa: RUF012 - set by the tests
    body: bytes | None = None

    def do_GET(self) -> None:
        if self.body is None:
            time.sleep(2)
            return
        self.send_response(200)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def pretender() -> Iterator[Callable[..., str]]:
    """Serve something that is no COLIPRI server; returns its URL."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def begin(body: bytes | None, **headers: str) -> str:
        handler = type("Handler", (Slow,), {"body": body, "headers_sent": headers})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


class TestRefused:
    def test_a_server_that_says_nothing(self, pretender: Callable[..., str]) -> None:
        with pytest.raises(ServerTimeoutError, match=r"0\.2 s.*wait longer"):
            RemoteEngine(pretender(None), timeouts=Timeouts(read=0.2))

    def test_a_long_call_without_a_word(self, local: Engine) -> None:
        """The model is busy with somebody else and the server has nothing to say in time."""
        gate = threading.Event()
        with serving(local) as url, RemoteEngine(url, timeouts=Timeouts(silence=0.05)) as engine:
            holder = threading.Thread(target=lambda: local._worker.run(lambda _: gate.wait(20)))
            holder.start()
            try:
                with engine.open(VOLUME) as session, pytest.raises(ServerTimeoutError, match="overloaded"):
                    session.classify(["emphysema"])
            finally:
                gate.set()
                holder.join()

    def test_another_service(self, pretender: Callable[..., str]) -> None:
        with pytest.raises(ProtocolMismatchError, match="Check the URL"):
            RemoteEngine(pretender(b"<html>hello</html>"))

    def test_another_version(self, pretender: Callable[..., str]) -> None:
        url = pretender(json.dumps({"status": "ok"}).encode(), **{"Colipri-Protocol": "9"})
        with pytest.raises(ProtocolMismatchError, match=r"version 1.*version 9.*same version"):
            RemoteEngine(url)
        report = check_connection(url)
        assert (report.ok, report.code) == (False, "protocol-mismatch")

    def test_an_older_client(self, local: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("colipri_core.remote.client.transport.PROTOCOL_VERSION", 0)
        with serving(local) as url, pytest.raises(ProtocolMismatchError):
            RemoteEngine(url)

    def test_a_wrong_token(self, local: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(local, token="correct-horse-battery") as url:
            for token in ("", "wrong-horse-battery"):
                with pytest.raises(ServerTokenError, match="COLIPRI_SERVER_TOKEN"):
                    RemoteEngine(url, token=token)
            monkeypatch.setenv("COLIPRI_SERVER_TOKEN", "correct-horse-battery")
            with open_engine(url) as engine:
                assert engine.card == local.card
            report = check_connection(url)
            assert report.ok
            assert report.card == local.card
            assert report.round_trip_ms > 0

    def test_nobody_there(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ServerUnreachableError, match="colipri serve"):
            open_engine(url)

    @pytest.mark.parametrize("url", ["http://", "http://host:port", "http://host/?x=1"])
    def test_what_is_no_address(self, url: str) -> None:
        with pytest.raises(ValueError, match="http://gpu-host:8765"):
            open_engine(url)

    def test_a_device_is_the_servers_own_choice(self) -> None:
        with pytest.raises(ValueError, match="chosen its own"):
            open_engine("http://127.0.0.1:9", device="cuda")

    def test_so_is_what_answers_prompts(self) -> None:
        with pytest.raises(ValueError, match="--clicks-model"):
            open_engine("http://127.0.0.1:9", clicks_model="nninteractive")

    def test_a_volume_larger_than_the_server_takes(self, local: Engine) -> None:
        from colipri_core.errors import TooLargeError

        with (
            serving(local, limits=Limits(volume_voxels=1000)) as url,
            RemoteEngine(url) as engine,
            pytest.raises(TooLargeError, match="1000 voxels"),
        ):
            engine.open(VOLUME)


def test_answers_do_not_wait_for_acknowledgements(tmp_path: Path) -> None:
    """Nagle's algorithm is switched off only on sockets that asyncio knows to be TCP."""
    with reserved(ServerSettings(state=tmp_path, port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_clicks_survive_a_restart(start: Callable[..., LightServer]) -> None:
    """Clicks after the restart build on those before it, as if nothing had happened."""
    server = start()
    port = urlsplit(server.url).port
    masks = []
    for killed in (False, True):
        with RemoteEngine(server.url, timeouts=PATIENT) as engine, engine.open(VOLUME) as session:
            session.prompt(Point(ras=LUNG))
            if killed:
                server.kill()
                start(state="another", port=port)
            session.prompt(Point(ras=(LUNG[0], LUNG[1] + 20, LUNG[2])))
            assert len(session.editing.prompts[1]) == 2
            masks.append(session.segmentation.labelmap)
    assert np.array_equal(*masks)
