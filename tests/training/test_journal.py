"""The log of a run: one line a step, none twice after a restart, and a line of progress a person can read."""

from __future__ import annotations

import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from colipri_core.errors import MissingDependencyError
from colipri_training.journal import Journal


def record(step: int) -> dict[str, Any]:
    return {"step": step, "seconds": 2.0, "loss": 1.5, "contrastive": 1.0, "report": 0.5}


def journal(folder: Path, **options: Any) -> Journal:
    return Journal(folder, steps=100, volumes=8, parts=("contrastive", "report"), **options)


def test_progress_names_parts_rate_memory_and_time_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        journal(tmp_path).write(record(10))
    line = caplog.messages[-1]
    assert line.startswith("step 10/100  loss 1.5000 (contrastive 1.000 report 0.500)  4.00 volumes/s  ")
    assert line.endswith("GiB  0:03:00 left")
    written = json.loads((tmp_path / "log.jsonl").read_text())
    assert written["volumes_per_second"] == 4.0
    assert 0.01 < written["memory_gib"] < 1000


def test_records_after_the_checkpoint_and_a_torn_one_are_written_again(tmp_path: Path) -> None:
    log = journal(tmp_path)
    for step in (1, 2, 3):
        log.write(record(step))
    with log.path.open("a") as stream:
        stream.write('{"step": 4, "los')
    log.rewind(2)
    log.write(record(3))
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 2, 3]


def test_tensorboard_gets_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[float, int]] = {}

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            seen[name] = (value, step)

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    journal(tmp_path, tensorboard=True).write(record(7))
    assert seen["report"] == (0.5, 7)
    assert {"loss", "volumes_per_second", "memory_gib"} <= set(seen)


def test_tensorboard_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match="pip install tensorboard"):
        journal(tmp_path, tensorboard=True)
