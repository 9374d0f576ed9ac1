"""A tiny prepared run, made once a session from real phantoms at a coarse grid."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from colipri_training.run import Run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a `smoke` run whose phantoms and tokenizer are prepared."""
    folder = tmp_path_factory.mktemp("run")
    for _ in Run("smoke", folder).prepare():
        pass
    return folder


InProcesses = Callable[[Callable[[], None], int], None]
"""Runs a function in so many processes of one gloo group; fails if one of them does."""


@pytest.fixture
def in_processes(tmp_path: Path) -> InProcesses:
    """Forked, not spawned: what the test has imported and prepared is there at once."""

    def run(function: Callable[[], None], size: int) -> None:
        meeting = str(Path(tempfile.mkdtemp(dir=tmp_path)) / "meeting")
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=_worker, args=(function, meeting, rank, size)) for rank in range(size)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=240)
        assert [worker.exitcode for worker in workers] == [0] * size

    return run


def _worker(function: Callable[[], None], meeting: str, rank: int, size: int) -> None:
    torch.set_num_threads(1)  # threads do not survive a fork
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    function()
    if size > 1:
        dist.destroy_process_group()
