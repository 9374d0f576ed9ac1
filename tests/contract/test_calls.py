"""How every engine behaves while it works: progress, cancellation, closing, several threads."""

from __future__ import annotations

import threading

import pytest
from chests import chest

from colipri_core.engine import Engine
from colipri_core.errors import Cancelled
from colipri_core.errors import SessionClosedError
from colipri_core.progress import CancelToken
from colipri_core.session import Session

VOLUME = chest()
CALLS = {
    "classify": lambda session, **control: session.classify(**control),
    "evidence": lambda session, **control: session.evidence("emphysema", **control),
    "segment": lambda session, **control: session.segment(**control),
    "embedding": lambda session, **control: session.embedding(**control),
    "check_sentences": lambda session, **control: session.check_sentences(["No lung nodule."], **control),
    "draft_report": lambda session, **control: session.draft_report(**control),
}


@pytest.fixture(params=CALLS.values(), ids=CALLS.keys())
def call(request: pytest.FixtureRequest):
    return request.param


class TestProgress:
    def test_fractions_rise_within_0_and_1_with_words(self, engine: Engine, call) -> None:
        seen: list[tuple[float, str]] = []
        with engine.open(VOLUME) as session:
            call(session, progress=lambda fraction, message: seen.append((fraction, message)))
        fractions = [fraction for fraction, _ in seen]
        assert fractions == sorted(fractions)
        assert fractions[0] >= 0
        assert 0.9 < fractions[-1] <= 1
        assert sum("block" in message for _, message in seen) >= 2

    def test_an_error_in_the_callback_reaches_the_caller(self, engine: Engine, call) -> None:
        def broken(fraction: float, message: str) -> None:
            raise ZeroDivisionError

        with engine.open(VOLUME) as session:
            with pytest.raises(ZeroDivisionError):
                call(session, progress=broken)
            call(session)


class TestCancel:
    @pytest.mark.parametrize("after", [0, 2, 4])
    def test_a_cancelled_call_leaves_the_session_usable(self, engine: Engine, call, after: int) -> None:
        token, reports = CancelToken(), []

        def count(fraction: float, message: str) -> None:
            reports.append(fraction)
            if len(reports) > after:
                token.cancel()

        with engine.open(VOLUME) as session:
            with pytest.raises(Cancelled):
                call(session, progress=count, cancel=token)
            assert len(reports) == after + 1
            assert call(session).provenance.timings

    def test_cancelled_before_it_began(self, engine: Engine, call) -> None:
        token = CancelToken()
        token.cancel()
        with engine.open(VOLUME) as session, pytest.raises(Cancelled):
            call(session, cancel=token)


class TestClose:
    def test_a_closed_session_refuses_and_closes_again_quietly(self, engine: Engine, call) -> None:
        session = engine.open(VOLUME)
        session.close()
        session.close()
        with pytest.raises(SessionClosedError, match="session"):
            call(session)
        assert session.volume is VOLUME

    def test_other_sessions_stay_open(self, engine: Engine) -> None:
        first, second = engine.open(VOLUME), engine.open(chest(seed=1))
        first.close()
        assert len(second.classify(["emphysema"])) == 1

    def test_a_closed_engine_refuses_and_closes_again_quietly(self, engine: Engine, call) -> None:
        session = engine.open(VOLUME)
        engine.close()
        engine.close()
        with pytest.raises(SessionClosedError):
            call(session)
        with pytest.raises(SessionClosedError):
            engine.open(VOLUME)

    def test_closing_the_engine_ends_a_running_call(self, engine: Engine) -> None:
        running, errors = threading.Event(), []

        def work(session: Session) -> None:
            def hold(fraction: float, message: str) -> None:
                running.set()
                threading.Event().wait(0.01)

            try:
                while True:
                    session.classify(progress=hold)
            except SessionClosedError as error:
                errors.append(error.code)

        thread = threading.Thread(target=work, args=(engine.open(VOLUME),))
        thread.start()
        assert running.wait(20)
        engine.close()
        thread.join(20)
        assert errors == ["session-closed"]


def test_calls_from_many_threads_give_the_same_answers(engine: Engine) -> None:
    volumes = [chest(seed=seed) for seed in range(3)]
    expected = []
    for volume in volumes:
        with engine.open(volume) as session:
            expected.append(session.classify().items)
    sessions = [engine.open(volume) for volume in volumes]
    found: dict[int, tuple] = {}

    def work(number: int) -> None:
        found[number] = sessions[number % 3].classify().items
        sessions[number % 3].evidence("lung nodule")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[number] for number in range(6)] == expected * 2
