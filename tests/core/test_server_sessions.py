"""Sessions behind a URL: leases, edits that are never made twice, what a new server finds, and who sees what."""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from chests import chest
from scripted_engine import ScriptedEngine
from support.serving import serving
from support.wire import Caller

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.log import replay_log
from colipri_core.errors import AutosaveError
from colipri_core.errors import ObjectLockedError
from colipri_core.errors import OutOfStepError
from colipri_core.errors import ServerBusyError
from colipri_core.errors import SessionUnknownError
from colipri_core.prompts import Crop
from colipri_core.remote.protocol.errors import error_from_body
from colipri_core.remote.server.settings import Limits

VOLUME = chest(spacing=(12.0, 12.0, 14.0))
OTHER = chest(spacing=(12.0, 12.0, 14.0), seed=1)
MIDDLE = np.array(VOLUME.shape) // 2


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    with serving(ScriptedEngine(), state=tmp_path, limits=Limits(sessions=3)) as url, Caller(url) as caller:
        yield caller


@pytest.fixture
def session(caller: Caller) -> str:
    return caller.open(caller.upload(VOLUME))


def stroke(*, at: int = 4, size: int = 3) -> Paint:
    return Paint(voxels=Crop(lower=(at, at, at), mask=np.ones((size,) * 3, dtype=bool)), label=1)


def test_where_the_servers_disk_is_full_the_client_hears_so_and_no_path(
    caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = caller.upload(VOLUME)

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("colipri_core.io.atomic.tempfile.mkstemp", full)
        with pytest.raises(httpx2.HTTPStatusError) as caught:
            caller.open(volume)
    assert caught.value.response.status_code == 507
    error = error_from_body(caught.value.response.json())
    assert isinstance(error, AutosaveError)
    assert "No space left" in str(error)
    assert str(tmp_path) not in str(error)
    assert caller.open(volume)


class TestEdits:
    def test_an_edit_answers_with_box_step_state_and_revision(self, caller: Caller, session: str) -> None:
        answer = caller.edit(session, stroke(), after=0, shape=VOLUME.shape)

        assert answer.revision == 1
        assert (answer.change.lower, answer.change.upper) == ((4, 4, 4), (7, 7, 7))
        assert answer.change.labels.min() == 1
        assert answer.state.voxels == {1: 27}
        assert answer.step is not None
        assert answer.step.action == "paint"

    def test_labels_are_those_of_an_editor_beside(self, caller: Caller, session: str) -> None:
        editor = LabelEditor(VOLUME)
        for number, edit in enumerate((stroke(), AddObject(name="Nodule"), stroke(at=6))):
            caller.edit(session, edit, after=number, shape=VOLUME.shape)
            editor.apply(edit)
        caller.ask(session, "undo", {"after": 3})
        editor.undo()

        np.testing.assert_array_equal(caller.labels(session, VOLUME.shape), editor.labelmap)
        assert caller.state(session)["state"]["undo"] == list(editor.state.undo)
        assert caller.state(session)["state"]["redo"] == list(editor.state.redo)

    def test_the_log_replays_to_the_labels(self, caller: Caller, session: str) -> None:
        caller.point(session, VOLUME, MIDDLE, after=0)
        caller.edit(session, stroke(), after=1, shape=VOLUME.shape)

        answer = caller.http.get(f"/v1/sessions/{session}/log")
        log = json_of(answer.content)
        np.testing.assert_array_equal(replay_log(log).labelmap, caller.labels(session, VOLUME.shape))

    def test_a_call_that_is_repeated_is_made_once(self, caller: Caller, session: str) -> None:
        job = str(uuid.uuid4())
        first = caller.point(session, VOLUME, MIDDLE, after=0, job=job)
        again = caller.point(session, VOLUME, MIDDLE, after=0, job=job)

        assert again.revision == first.revision == 1
        assert again.state == first.state
        np.testing.assert_array_equal(again.change.labels, first.change.labels)
        assert caller.state(session)["state"]["undo"] == ["point"]

    @pytest.mark.parametrize("after", [-1, 0, 2, 10**9])
    def test_an_edit_that_follows_another_is_refused(self, after: int, caller: Caller, session: str) -> None:
        caller.edit(session, stroke(), after=0, shape=VOLUME.shape)

        with pytest.raises(OutOfStepError) as caught:
            caller.edit(session, stroke(at=7), after=after, shape=VOLUME.shape)
        assert caught.value.revision == 1
        assert caller.state(session)["state"]["voxels"] == {"1": 27}

    def test_an_edit_that_changes_nothing_leaves_the_revision(self, caller: Caller, session: str) -> None:
        caller.edit(session, stroke(), after=0, shape=VOLUME.shape)

        answer = caller.edit(session, stroke(), after=1, shape=VOLUME.shape)
        assert (answer.revision, answer.step) == (1, None)

    def test_a_refused_edit_is_the_error_a_local_session_raises(self, caller: Caller, session: str) -> None:
        caller.edit(session, stroke(), after=0, shape=VOLUME.shape)
        caller.edit(session, ChangeObject(label=1, locked=True), after=1, shape=VOLUME.shape)

        with pytest.raises(ObjectLockedError):
            caller.edit(session, stroke(at=8), after=2, shape=VOLUME.shape)
        with pytest.raises(ValueError, match="outside"):
            caller.point(session, VOLUME, (-500, 0, 0), after=2, label=2)


class TestHistory:
    def test_a_session_begins_with_the_history_it_is_given(self, caller: Caller) -> None:
        editor = LabelEditor(VOLUME)
        for edit in (stroke(), AddObject(name="Nodule"), stroke(at=8)):
            editor.apply(edit)
        steps = editor.steps
        editor.undo()

        session = caller.open(caller.upload(VOLUME), done=steps[:2], undone=steps[2:])
        state = caller.state(session)
        assert state["revision"] == 0
        assert (state["state"]["undo"], state["state"]["redo"]) == (["add", "paint"], ["paint"])
        np.testing.assert_array_equal(caller.labels(session, VOLUME.shape), editor.labelmap)
        caller.ask(session, "redo", {"after": 0})
        editor.redo()
        np.testing.assert_array_equal(caller.labels(session, VOLUME.shape), editor.labelmap)

    def test_steps_that_do_not_follow_are_refused_and_nothing_is_kept(self, caller: Caller, tmp_path: Path) -> None:
        editor = LabelEditor(VOLUME)
        editor.apply(AddObject(name="Nodule"))
        editor.apply(ChangeObject(label=1, name="Mass"))

        answer = caller.try_open(caller.upload(VOLUME), done=editor.steps[1:])
        assert answer.status_code == 400
        assert list((tmp_path / "sessions").iterdir()) == []

    def test_a_volume_that_is_not_here_is_said(self, caller: Caller) -> None:
        answer = caller.try_open("0" * 64)

        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "volume-unknown")


class TestLeases:
    def test_a_silent_session_is_closed_and_found_again(self, tmp_path: Path) -> None:
        engine = ScriptedEngine()
        with serving(engine, state=tmp_path, limits=Limits(lease_s=0.4)) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME))
            caller.edit(session, stroke(), after=0, shape=VOLUME.shape)
            wait_for(lambda: engine.sessions[0].closed)

            assert caller.state(session)["revision"] == 1
            assert caller.state(session)["state"]["voxels"] == {"1": 27}
            assert len(engine.sessions) == 2

    def test_a_heartbeat_keeps_a_session_open(self, tmp_path: Path) -> None:
        engine = ScriptedEngine()
        with serving(engine, state=tmp_path, limits=Limits(lease_s=2)) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME))
            end = time.monotonic() + 4
            while time.monotonic() < end:
                caller.http.post(f"/v1/sessions/{session}/heartbeat").raise_for_status()
                time.sleep(0.1)

            assert not engine.sessions[0].closed

    def test_a_session_at_work_is_not_closed(self, tmp_path: Path) -> None:
        engine = ScriptedEngine()
        with serving(engine, state=tmp_path, limits=Limits(lease_s=0.3)) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME))
            engine.gate.clear()
            with caller.call(session, "classify") as frames:
                next(frames)
                time.sleep(1.0)
                assert not engine.sessions[0].closed
                engine.gate.set()
                assert list(frames)

    def test_what_nobody_asks_for_is_deleted(self, tmp_path: Path) -> None:
        limits = Limits(lease_s=0.2, retain_s=0.5)
        with serving(ScriptedEngine(), state=tmp_path, limits=limits) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME))
            wait_for(lambda: not [*(tmp_path / "sessions").iterdir(), *(tmp_path / "volumes").iterdir()])

            with pytest.raises(SessionUnknownError):
                caller.state(session)

    def test_no_more_sessions_than_allowed(self, caller: Caller, session: str) -> None:
        for _ in range(2):
            caller.open(VOLUME.sha256)

        answer = caller.try_open(VOLUME.sha256)
        assert isinstance(error_from_body(answer.json()), ServerBusyError)
        assert answer.headers["retry-after"]
        caller.http.delete(f"/v1/sessions/{session}").raise_for_status()
        assert caller.open(VOLUME.sha256)


class TestIsolation:
    def test_sessions_on_one_volume_have_labels_of_their_own(self, caller: Caller, session: str) -> None:
        other = caller.open(VOLUME.sha256)
        caller.edit(session, stroke(), after=0, shape=VOLUME.shape)
        caller.edit(other, stroke(at=10), after=0, shape=VOLUME.shape)

        ours, theirs = (caller.labels(name, VOLUME.shape) for name in (session, other))
        assert (ours[4, 4, 4], ours[10, 10, 10]) == (1, 0)
        assert (theirs[4, 4, 4], theirs[10, 10, 10]) == (0, 1)

    def test_ending_one_leaves_the_other(self, caller: Caller, session: str) -> None:
        other = caller.open(VOLUME.sha256)
        caller.edit(other, stroke(), after=0, shape=VOLUME.shape)
        caller.http.delete(f"/v1/sessions/{session}").raise_for_status()

        assert caller.state(other)["revision"] == 1
        with pytest.raises(SessionUnknownError):
            caller.state(session)

    def test_what_a_client_ends_is_deleted(self, caller: Caller, session: str, tmp_path: Path) -> None:
        caller.edit(session, stroke(), after=0, shape=VOLUME.shape)
        caller.http.delete(f"/v1/sessions/{session}").raise_for_status()

        assert list((tmp_path / "sessions").iterdir()) == []

    @pytest.mark.parametrize("name", ["0" * 32, "..", "..%2f..%2fetc", "x", "0" * 500, "%00"])
    def test_a_forged_id_is_unknown(self, name: str, caller: Caller, session: str) -> None:
        answer = caller.http.get(f"/v1/sessions/{name}")

        assert answer.status_code == 404
        assert caller.state(session)["session"] == session


class TestRestart:
    def test_a_new_server_on_the_same_folder_goes_on(self, tmp_path: Path) -> None:
        with serving(ScriptedEngine(), state=tmp_path) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME), name="Case 7", unit="HU")
            caller.edit(session, stroke(), after=0, shape=VOLUME.shape)
            caller.edit(session, stroke(at=8), after=1, shape=VOLUME.shape)
            caller.ask(session, "undo", {"after": 2})
            labels = caller.labels(session, VOLUME.shape)

        with serving(ScriptedEngine(), state=tmp_path) as url, Caller(url) as caller:
            state = caller.state(session)
            assert state["revision"] == 3
            assert (state["state"]["undo"], state["state"]["redo"]) == (["paint"], ["paint"])
            np.testing.assert_array_equal(caller.labels(session, VOLUME.shape), labels)
            assert caller.ask(session, "classify")[-1].body["case"] == "Case 7"
            assert caller.edit(session, stroke(at=9), after=3, shape=VOLUME.shape).revision == 4

    def test_a_damaged_volume_file_is_not_used(self, tmp_path: Path) -> None:
        with serving(ScriptedEngine(), state=tmp_path) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME))
        (path,) = (tmp_path / "volumes").iterdir()
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)

        with serving(ScriptedEngine(), state=tmp_path) as url, Caller(url) as caller:
            with pytest.raises(SessionUnknownError, match="Open the volume again"):
                caller.state(session)
            assert caller.http.head(f"/v1/volumes/{VOLUME.sha256}").status_code == 404

    def test_two_servers_cannot_have_one_folder(self, tmp_path: Path) -> None:
        with (
            serving(ScriptedEngine(), state=tmp_path),
            pytest.raises(ValueError, match="Another server uses the state folder"),
            serving(ScriptedEngine(), state=tmp_path),
        ):
            pass


def wait_for(holds, *, within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def json_of(content: bytes) -> dict:
    from colipri_core.remote.protocol.streams import FrameReader

    *_, last = FrameReader().feed(content)
    return last.body
