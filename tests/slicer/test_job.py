"""Jobs: results come back in `poll`, on the thread that polls; cancelling, queueing and failing leave no trace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterator

import extension  # noqa: F401 - makes ColipriLib importable
import pytest

from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from ColipriLib.job import Job
from ColipriLib.job import Runner


class Gate:
    """Work that waits until it is let through, or cancelled."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, progress: ProgressCallback, cancel: CancelToken) -> str:
        self.entered.set()
        while not self.open.wait(0.005):
            cancel.check()
        return threading.current_thread().name


@pytest.fixture
def failures() -> list[Exception]:
    return []


@pytest.fixture
def runner(failures: list[Exception]) -> Iterator[Runner]:
    made = Runner(failures.append)
    yield made
    made.close()
    assert made.join()


def nothing(_: object) -> None:
    """Take a result and drop it."""


def at_once(value: object) -> Callable[[ProgressCallback, CancelToken], object]:
    return lambda progress, cancel: value


def test_results_come_back_on_the_thread_that_polls(runner: Runner) -> None:
    seen: list[tuple[str, str]] = []
    gate = Gate()
    gate.open.set()

    runner.start(Job(title="a", work=gate, on_done=lambda name: seen.append((name, threading.current_thread().name))))
    runner.wait(10)

    assert seen == [("colipri-job", threading.current_thread().name)]


def test_nothing_happens_before_poll(runner: Runner) -> None:
    seen: list[object] = []
    runner.start(Job(title="a", work=at_once(3), on_done=seen.append))
    threading.Event().wait(0.05)

    assert seen == []
    assert runner.busy
    runner.wait(10)
    assert seen == [3]
    assert not runner.busy


def test_progress_is_that_of_the_running_job(runner: Runner) -> None:
    gate = Gate()

    def work(progress: ProgressCallback, cancel: CancelToken) -> str:
        progress(0.4, "half way")
        return gate(progress, cancel)

    runner.start(Job(title="long", work=work, on_done=nothing))
    gate.entered.wait(5)
    runner.poll()

    assert (runner.title, runner.fraction, runner.message) == ("long", 0.4, "half way")
    gate.open.set()
    runner.wait(10)
    assert runner.title == ""


def test_a_second_job_is_refused_a_waiting_one_is_not(runner: Runner) -> None:
    gate, order = Gate(), []
    runner.start(Job(title="first", work=gate, on_done=lambda _: order.append("first")))

    assert not runner.start(Job(title="refused", work=at_once(0), on_done=lambda _: order.append("refused")))
    assert runner.start(Job(title="edit", work=at_once(0), on_done=lambda _: order.append("edit"), waits=True))
    assert runner.start(Job(title="edit", work=at_once(0), on_done=lambda _: order.append("next"), waits=True))
    gate.open.set()
    runner.wait(10)
    assert order == ["first", "edit", "next"]


def test_a_job_is_made_ready_when_its_turn_has_come(runner: Runner) -> None:
    gate, order = Gate(), []

    def ready() -> None:
        order.append(f"ready on {threading.current_thread().name}")

    runner.start(Job(title="first", work=gate, on_done=lambda _: order.append("first")))
    runner.start(Job(title="edit", work=at_once(0), on_done=lambda _: order.append("edit"), on_start=ready, waits=True))
    gate.open.set()
    runner.wait(10)

    assert order == ["first", f"ready on {threading.current_thread().name}", "edit"]


def test_a_job_that_cannot_be_made_ready_fails_and_the_next_one_runs(runner: Runner, failures: list[Exception]) -> None:
    def broken() -> None:
        msg = "no node"
        raise ValueError(msg)

    seen: list[object] = []
    runner.start(Job(title="a", work=at_once(1), on_done=seen.append, on_start=broken))
    runner.start(Job(title="b", work=at_once(2), on_done=seen.append, waits=True))
    runner.wait(10)

    assert ([str(error) for error in failures], seen) == (["no node"], [2])


def test_a_replaceable_job_gives_way(runner: Runner) -> None:
    gate, order = Gate(), []
    runner.start(Job(title="map", work=gate, on_done=lambda _: order.append("map"), replaceable=True))
    gate.entered.wait(5)

    assert runner.start(Job(title="other", work=at_once(0), on_done=lambda _: order.append("other")))
    runner.wait(10)
    assert order == ["other"]


def test_cancelling_is_no_failure(runner: Runner, failures: list[Exception]) -> None:
    gate, stopped = Gate(), []
    runner.start(Job(title="a", work=gate, on_done=nothing, on_stopped=lambda: stopped.append(1)))
    gate.entered.wait(5)
    runner.cancel()
    runner.wait(10)

    assert (stopped, failures) == ([1], [])


def test_a_failure_is_handed_over_and_the_next_job_runs(runner: Runner, failures: list[Exception]) -> None:
    def broken(progress: ProgressCallback, cancel: CancelToken) -> None:
        msg = "broken"
        raise ValueError(msg)

    seen: list[object] = []
    runner.start(Job(title="a", work=broken, on_done=seen.append))
    runner.start(Job(title="b", work=at_once(1), on_done=seen.append, waits=True))
    runner.wait(10)

    assert [str(error) for error in failures] == ["broken"]
    assert seen == [1]


def test_an_edit_that_was_made_is_shown_even_if_it_was_cancelled_too_late(runner: Runner) -> None:
    gate, seen = Gate(), []

    def stubborn(progress: ProgressCallback, cancel: CancelToken) -> int:
        gate.entered.set()
        gate.open.wait(5)
        return 7

    runner.start(Job(title="edit", work=stubborn, on_done=seen.append, waits=True))
    gate.entered.wait(5)
    runner.cancel()
    gate.open.set()
    runner.wait(10)

    assert seen == [7]


def test_a_failing_callback_does_not_stop_the_queue(runner: Runner) -> None:
    def broken(_: object) -> None:
        raise KeyError

    seen: list[object] = []
    runner.start(Job(title="a", work=at_once(1), on_done=broken))
    runner.start(Job(title="b", work=at_once(2), on_done=seen.append, waits=True))
    with pytest.raises(KeyError):
        runner.wait(10)
    runner.wait(10)

    assert seen == [2]


def test_finishing_cancels_what_runs_and_does_what_waits(runner: Runner) -> None:
    gate, order = Gate(), []
    runner.start(Job(title="long", work=gate, on_done=lambda _: order.append("long")))
    for name in ("edit", "save"):
        runner.start(Job(title=name, work=at_once(name), on_done=order.append, waits=True))

    assert runner.finish(10) == ()
    assert order == ["edit", "save"]
    assert not runner.busy


def test_finishing_waits_for_nothing_where_nothing_waits(runner: Runner) -> None:
    gate = Gate()
    runner.start(Job(title="long", work=lambda *_: gate.open.wait(10), on_done=nothing))

    assert runner.finish(10) == ()
    assert runner.busy
    gate.open.set()
    runner.wait(10)


def test_what_cannot_be_finished_in_time_is_named_and_forgotten(runner: Runner) -> None:
    gate, seen = Gate(), []
    runner.start(Job(title="stubborn", work=lambda *_: gate.open.wait(10), on_done=nothing))
    runner.start(Job(title="save", work=at_once(1), on_done=seen.append, waits=True))

    assert runner.finish(0.05) == ("save",)
    gate.open.set()
    runner.wait(10)
    assert seen == []


def test_after_close_nothing_is_taken_and_cleanup_runs_last() -> None:
    gate, order = Gate(), []
    runner = Runner(nothing)
    runner.start(Job(title="a", work=gate, on_done=lambda _: order.append("done")))
    gate.entered.wait(5)
    runner.close(lambda: order.append("cleanup"))

    assert not runner.start(Job(title="b", work=at_once(0), on_done=nothing))
    assert runner.join()
    runner.poll()
    assert order == ["cleanup"]


def test_waiting_for_too_long_is_said(runner: Runner) -> None:
    gate = Gate()
    runner.start(Job(title="endless", work=gate, on_done=nothing))

    with pytest.raises(TimeoutError, match="endless"):
        runner.wait(0.05)
    gate.open.set()
    runner.wait(10)
