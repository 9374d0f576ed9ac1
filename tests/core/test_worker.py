"""The model's thread: order, errors, cancellation, closing."""

from __future__ import annotations

import gc
import threading
import time

import pytest
import torch

from colipri_core.errors import Cancelled
from colipri_core.errors import SessionClosedError
from colipri_core.inference.worker import ModelWorker
from colipri_core.inference.worker import available_threads
from colipri_core.progress import CancelToken
from colipri_core.progress import Reporter

pytestmark = pytest.mark.timeout(30, func_only=True)


@pytest.fixture
def worker():
    worker = ModelWorker(threads=1)
    yield worker
    worker.close()


def until_cancelled(report: Reporter) -> None:
    while True:
        report(0.5, "working")
        time.sleep(0.001)


class TestRun:
    def test_jobs_share_one_thread_which_is_not_the_callers(self, worker: ModelWorker) -> None:
        threads = {worker.run(lambda report: threading.get_ident()) for _ in range(3)}
        assert len(threads) == 1
        assert threading.get_ident() not in threads

    def test_jobs_run_in_inference_mode(self, worker: ModelWorker) -> None:
        assert worker.run(lambda report: torch.is_inference_mode_enabled())
        assert not torch.is_inference_mode_enabled()

    def test_errors_reach_the_caller_and_the_worker_lives_on(self, worker: ModelWorker) -> None:
        def fail(report: Reporter) -> None:
            raise KeyError("lung")

        with pytest.raises(KeyError, match="lung"):
            worker.run(fail)
        assert worker.run(lambda report: 7) == 7

    def test_an_error_of_the_job_may_be_a_timeout(self, worker: ModelWorker) -> None:
        def fail(report: Reporter) -> None:
            raise TimeoutError("slow disk")

        with pytest.raises(TimeoutError, match="slow disk"):
            worker.run(fail)

    def test_callers_of_many_threads_never_overlap(self, worker: ModelWorker) -> None:
        running, most, results = 0, 0, []

        def job(report: Reporter) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            time.sleep(0.005)
            running -= 1
            return 1

        callers = [threading.Thread(target=lambda: results.append(worker.run(job))) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert results == [1] * 8
        assert most == 1

    def test_a_progress_callback_may_ask_for_more(self, worker: ModelWorker) -> None:
        nested = []

        def outer(report: Reporter) -> str:
            report(0.5, "half")
            return "done"

        result = worker.run(outer, progress=lambda *_: nested.append(worker.run(lambda report: "inner")))
        assert result == "done"
        assert set(nested) == {"inner"}


class TestCancel:
    def test_a_running_job_ends_at_its_next_report(self, worker: ModelWorker) -> None:
        token = CancelToken()
        threading.Timer(0.1, token.cancel).start()
        with pytest.raises(Cancelled):
            worker.run(until_cancelled, cancel=token)
        assert worker.run(lambda report: "usable") == "usable"

    def test_a_waiting_job_never_starts_and_its_caller_does_not_wait(self, worker: ModelWorker) -> None:
        release, started = threading.Event(), []
        blocker = threading.Thread(target=worker.run, args=(lambda report: release.wait(20),))
        blocker.start()
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            worker.run(lambda report: started.append(1), cancel=token)
        assert blocker.is_alive()
        release.set()
        blocker.join()
        assert worker.run(lambda report: started) == []


class TestClose:
    def test_closing_ends_the_running_job_and_refuses_the_waiting_one(self, worker: ModelWorker) -> None:
        errors: list[str] = []

        def call() -> None:
            try:
                worker.run(until_cancelled)
            except SessionClosedError as error:
                errors.append(error.code)

        callers = [threading.Thread(target=call) for _ in range(2)]
        for caller in callers:
            caller.start()
        time.sleep(0.1)
        worker.close()
        for caller in callers:
            caller.join(10)
        assert errors == ["session-closed"] * 2

    def test_a_closed_worker_refuses_and_closes_again_quietly(self, worker: ModelWorker) -> None:
        worker.close()
        worker.close()
        with pytest.raises(SessionClosedError, match="open_engine"):
            worker.run(lambda report: 1)

    def test_a_forgotten_worker_ends_its_thread(self) -> None:
        worker = ModelWorker(threads=1)
        thread = worker._thread
        del worker
        gc.collect()
        thread.join(10)
        assert not thread.is_alive()


class TestThreads:
    def test_environment_decides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLIPRI_THREADS", "3")
        assert available_threads() == 3
        assert ModelWorker().run(lambda report: torch.get_num_threads()) == 3

    def test_openmp_is_respected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("COLIPRI_THREADS", raising=False)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert available_threads() == 2

    @pytest.mark.parametrize("value", ["0", "two", "-1", "1.5"])
    def test_nonsense_is_refused(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("COLIPRI_THREADS", value)
        with pytest.raises(ValueError, match=value):
            available_threads()
