"""Ending a training with SIGKILL, as a power cut would, at a moment of its own choosing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch


def kill_after(train: Callable[[Path], None], folder: Path, records: int, *, delay: float) -> None:
    """Train in a process of its own and end it with SIGKILL some time after it has written so many records."""

    def work() -> None:
        torch.set_num_threads(1)
        train(folder)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    log = folder / "log.jsonl"
    while process.is_alive() and (not log.is_file() or log.read_text().count("\n") < records):
        time.sleep(0.01)
    time.sleep(delay)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
