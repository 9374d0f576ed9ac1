"""Jobs: progress, cancelling by name and by hanging up, limits, and what clients are told when the server stops."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from chests import chest
from scripted_engine import ScriptedEngine
from support.serving import serving
from support.wire import Caller

from colipri_core.errors import Cancelled
from colipri_core.errors import NotFoundError
from colipri_core.errors import ServerBusyError
from colipri_core.errors import ServerStoppingError
from colipri_core.remote.protocol.errors import error_from_body
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.server.settings import Limits

VOLUME = chest(spacing=(12.0, 12.0, 14.0))


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine()
    yield engine
    engine.gate.set()


@pytest.fixture
def caller(engine: ScriptedEngine, tmp_path: Path) -> Iterator[Caller]:
    limits = Limits(jobs=3, jobs_per_session=2, stop_s=5)
    with serving(engine, state=tmp_path, limits=limits) as url, Caller(url) as caller:
        yield caller


@pytest.fixture
def session(caller: Caller) -> str:
    return caller.open(caller.upload(VOLUME))


def until(holds: Callable[[], bool], *, within_s: float = 20) -> None:
    """Wait until something holds, or fail."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def held(caller: Caller, session: str, engine: ScriptedEngine, *, job: str) -> threading.Thread:
    """Begin a call that waits at the engine's gate; `thread.outcome` is what came of it."""
    engine.gate.clear()
    engine.entered.clear()

    def ask() -> None:
        try:
            thread.outcome = caller.ask(session, "classify", job=job)  # type: ignore[attr-defined]
        except Exception as error:
            thread.outcome = error  # type: ignore[attr-defined]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert engine.entered.wait(20)
    return thread


def outcome(thread: threading.Thread) -> object:
    thread.join(20)
    return thread.outcome  # type: ignore[attr-defined]


def jobs_at_hand(caller: Caller) -> int:
    lines = caller.http.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("colipri_jobs_at_hand "))))


def test_a_stream_tells_progress_then_one_result(caller: Caller, session: str, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    with caller.call(session, "classify") as frames:
        first = next(frames)
        engine.gate.set()
        rest = list(frames)

    assert first.kind is Kind.PROGRESS
    assert first.body["message"] == "Reading the volume"
    assert [frame.kind for frame in rest if frame.kind is not Kind.PROGRESS] == [Kind.RESULT]
    assert rest[-1].body["items"][0]["name"] == "Medical material"


def test_sentences_come_before_the_report(caller: Caller, session: str) -> None:
    kinds = [frame.kind for frame in caller.ask(session, "report")]

    assert kinds.count(Kind.SENTENCE) > 1
    assert kinds[-1] is Kind.RESULT


def test_a_job_is_cancelled_by_its_name(caller: Caller, session: str, engine: ScriptedEngine) -> None:
    job = str(uuid.uuid4())
    thread = held(caller, session, engine, job=job)

    assert caller.http.delete(f"/v1/jobs/{job}").status_code == 204
    assert isinstance(outcome(thread), Cancelled)


def test_only_jobs_at_work_can_be_cancelled(caller: Caller) -> None:
    answer = caller.http.delete(f"/v1/jobs/{uuid.uuid4()}")

    assert answer.status_code == 404
    assert isinstance(error_from_body(answer.json()), NotFoundError)


def test_hanging_up_cancels(caller: Caller, session: str, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    with caller.call(session, "classify") as frames:
        next(frames)
        assert jobs_at_hand(caller) == 1

    until(lambda: jobs_at_hand(caller) == 0)
    assert 'colipri_jobs_total{kind="classify",outcome="cancelled"} 1.0' in caller.http.get("/metrics").text


def test_a_session_is_usable_after_a_cancelled_call(caller: Caller, session: str, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    with caller.call(session, "evidence", {"text": "nodule"}) as frames:
        next(frames)
    engine.gate.set()

    assert caller.ask(session, "evidence", {"text": "nodule"})[-1].kind is Kind.RESULT


def test_one_session_cannot_take_all_jobs(caller: Caller, session: str, engine: ScriptedEngine) -> None:
    threads = [held(caller, session, engine, job=str(uuid.uuid4())) for _ in range(2)]
    other = caller.open(VOLUME.sha256)

    with pytest.raises(ServerBusyError, match="at most 2 calls of a session"):
        caller.ask(session, "classify")
    third = held(caller, other, engine, job=str(uuid.uuid4()))
    with pytest.raises(ServerBusyError):
        caller.ask(other, "classify")
    engine.gate.set()
    assert all(isinstance(outcome(thread), list) for thread in (*threads, third))


def test_two_jobs_cannot_have_one_name(caller: Caller, session: str, engine: ScriptedEngine) -> None:
    job = str(uuid.uuid4())
    thread = held(caller, session, engine, job=job)

    with pytest.raises(ServerBusyError, match="a new name for each job"):
        caller.ask(session, "classify", job=job)
    engine.gate.set()
    assert isinstance(outcome(thread), list)


@pytest.mark.parametrize("name", ["../../etc", "a" * 65, "a b"])
def test_a_job_has_a_sensible_name(name: str, caller: Caller, session: str) -> None:
    with pytest.raises(ValueError, match="Expected a UUID"):
        caller.ask(session, "classify", job=name)


class OneAtATime(ScriptedEngine):
    """Answers one call after the other, as an engine with one thread for its models does."""

    def __init__(self) -> None:
        super().__init__()
        self._model = threading.Lock()

    def walk(self, message, progress, cancel):
        with self._model:
            super().walk(message, progress, cancel)


def test_a_job_that_waits_for_the_model_says_how_many_are_before_it(tmp_path: Path) -> None:
    engine = OneAtATime()
    with serving(engine, state=tmp_path) as url, Caller(url) as caller:
        session = caller.open(caller.upload(VOLUME))
        first = held(caller, session, engine, job=str(uuid.uuid4()))
        with caller.call(session, "classify") as frames:
            waiting = next(frames)
            engine.gate.set()
            assert list(frames)[-1].kind is Kind.RESULT
        assert isinstance(outcome(first), list)

    assert waiting.body == {"fraction": 0.0, "message": "Waiting: 1 before this one"}


def test_clients_are_told_that_the_server_stops(engine: ScriptedEngine, tmp_path: Path) -> None:
    with serving(engine, state=tmp_path) as url:
        caller = Caller(url)
        session = caller.open(caller.upload(VOLUME))
        thread = held(caller, session, engine, job=str(uuid.uuid4()))

    assert isinstance(outcome(thread), ServerStoppingError)
    assert all(session.closed for session in engine.sessions)
    assert not engine.closed


def test_a_failure_inside_says_nothing_of_itself(caller: Caller, session: str, engine: ScriptedEngine) -> None:
    engine.error = RuntimeError("/secret/place of the patient Miller")

    frames = []
    with caller.call(session, "classify") as stream:
        frames += list(stream)

    assert frames[-1].kind is Kind.ERROR
    assert frames[-1].body["error"]["code"] == "server-fault"
    assert "secret" not in str(frames[-1].body)
    assert "Miller" not in str(frames[-1].body)
