"""Jobs run off the GUI thread, one at a time, and never talk to what is gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from qtpy.QtCore import QTimer

from colipri_core.errors import InputError
from napari_colipri.jobs import Jobs
from napari_colipri.work import Job


class Gate:
    """Work that waits until it is opened or cancelled."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.left = threading.Event()

    def __call__(self, progress, cancel) -> str:
        self.entered.set()
        try:
            while not self.open.wait(0.005):
                cancel.check()
                progress(0.5, "Waiting")
            return "through"
        finally:
            self.left.set()


@pytest.fixture
def jobs(qtbot) -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.close()


def job(work, results: list, **options) -> Job:
    return Job(title="Work", work=work, on_done=results.append, **options)


def test_work_runs_elsewhere_and_its_result_comes_back_here(jobs: Jobs, qtbot) -> None:
    seen = []

    def done(worker: int) -> None:
        seen.append((worker, threading.get_ident()))

    with qtbot.waitSignal(jobs.idle):
        assert jobs.start(Job(title="Work", work=lambda _progress, _cancel: threading.get_ident(), on_done=done))

    worker, here = seen[0]
    assert here == threading.get_ident()
    assert worker != here


def test_even_the_shortest_work_is_done_after_start_has_returned(jobs: Jobs, qtbot) -> None:
    for _ in range(50):
        results = []
        jobs.start(job(lambda _progress, _cancel: "done", results))
        assert results == []
        qtbot.waitUntil(lambda: not jobs.busy)
        assert results == ["done"]


def test_the_gui_thread_keeps_ticking(jobs: Jobs, qtbot) -> None:
    gate, ticks = Gate(), []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(jobs.busy))
    timer.start(5)
    jobs.start(job(gate, []))

    qtbot.waitUntil(lambda: len(ticks) > 10)

    assert all(ticks[1:10])
    gate.open.set()
    qtbot.waitUntil(lambda: not jobs.busy)


def test_a_second_job_is_refused_while_one_runs(jobs: Jobs, qtbot) -> None:
    gate, results = Gate(), []
    assert jobs.start(job(gate, results))

    assert not jobs.start(job(lambda _progress, _cancel: "second", results))

    gate.open.set()
    qtbot.waitUntil(lambda: not jobs.busy)
    assert results == ["through"]


def test_the_newest_request_replaces_a_replaceable_one(jobs: Jobs, qtbot) -> None:
    gate, results = Gate(), []
    jobs.start(job(gate, results, replaceable=True))
    assert jobs.start(job(lambda _progress, _cancel: "second", results, replaceable=True))
    assert jobs.start(job(lambda _progress, _cancel: "third", results))

    qtbot.waitUntil(lambda: not jobs.busy)

    assert results == ["third"]


def test_cancel_ends_the_job_and_leaves_the_runner_usable(jobs: Jobs, qtbot) -> None:
    gate, results = Gate(), []
    jobs.start(job(gate, results))
    qtbot.waitUntil(gate.entered.is_set)

    with qtbot.waitSignals([jobs.cancelled, jobs.idle]):
        jobs.cancel()

    assert results == []
    with qtbot.waitSignal(jobs.idle):
        assert jobs.start(job(lambda _progress, _cancel: "again", results))
    assert results == ["again"]


def test_a_failure_is_told_and_nothing_is_done(jobs: Jobs, qtbot) -> None:
    def work(_progress, _cancel) -> None:
        msg = "Expected bread, found a stone. Bring bread."
        raise InputError(msg)

    results = []
    with qtbot.waitSignal(jobs.failed) as failed:
        jobs.start(job(work, results))

    assert "Bring bread" in str(failed.args[0])
    assert results == []
    assert not jobs.busy


def test_progress_arrives_on_the_gui_thread(jobs: Jobs, qtbot) -> None:
    threads = set()
    jobs.progressed.connect(lambda *_: threads.add(threading.get_ident()))

    with qtbot.waitSignal(jobs.progressed) as progressed:
        jobs.start(job(lambda progress, _cancel: progress(1.0, "Done"), []))

    assert progressed.args == [1.0, "Done"]
    assert threads == {threading.get_ident()}


def test_closing_waits_for_nothing_and_cleans_up_last(qtbot) -> None:
    jobs, gate, results, freed = Jobs(), Gate(), [], threading.Event()
    jobs.start(job(gate, results))
    qtbot.waitUntil(gate.entered.is_set)

    jobs.close(lambda: freed.set() if gate.left.is_set() else None)

    qtbot.waitUntil(freed.is_set)
    qtbot.wait(20)
    assert results == []
    assert not jobs.start(job(lambda _progress, _cancel: "late", results))


def test_closing_does_what_waits_and_must_be_done_in_order_and_then_cleans_up(qtbot) -> None:
    jobs, gate, made, freed = Jobs(), Gate(), [], threading.Event()
    jobs.start(job(gate, []))
    qtbot.waitUntil(gate.entered.is_set)
    plan = (
        ("stroke", "do"),
        ("undo of the stroke", "do in order"),
        ("prompt", "drop"),
        ("undo of the prompt", "do in order"),
        ("save", "do"),
    )
    for name, at_close in plan:
        work = lambda _progress, cancel, name=name: made.append((name, cancel.cancelled))  # noqa: E731
        assert jobs.start(job(work, [], waits=True, at_close=at_close))

    jobs.close(freed.set)

    qtbot.waitUntil(freed.is_set)
    assert made == [("stroke", False), ("undo of the stroke", False), ("save", False)]


def test_closing_lets_an_edit_that_runs_finish_and_drops_the_undo_of_a_prompt_that_runs(qtbot) -> None:
    for at_close, expected in (("do", ["through", "undo"]), ("drop", ["stopped"])):
        jobs, gate, made, freed = Jobs(), Gate(), [], threading.Event()

        def work(progress, cancel, gate=gate, made=made) -> None:
            made.append("stopped")
            made[-1] = gate(progress, cancel)

        jobs.start(job(work, [], waits=True, at_close=at_close))
        qtbot.waitUntil(gate.entered.is_set)
        undo = lambda _progress, _cancel, made=made: made.append("undo")  # noqa: E731
        jobs.start(job(undo, [], waits=True, at_close="do in order"))

        jobs.close(freed.set)
        if at_close == "do":
            gate.open.set()

        qtbot.waitUntil(freed.is_set)
        assert made == expected


def test_what_fails_after_closing_is_in_the_log(qtbot, caplog) -> None:
    def work(_progress, _cancel) -> None:
        msg = "No room left on the disk."
        raise InputError(msg)

    jobs, gate, freed = Jobs(), Gate(), threading.Event()
    jobs.start(job(gate, []))
    jobs.start(job(work, [], waits=True, at_close="do"))
    jobs.close(freed.set)

    qtbot.waitUntil(freed.is_set)
    assert "No room left" in caplog.text
