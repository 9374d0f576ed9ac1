"""The log of a run: one line a step, none twice after a restart, and a line of progress a person can read."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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


def test_a_run_that_the_clock_ends_shows_its_own_time_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = Journal(tmp_path, steps=None, volumes=8, parts=())
    with caplog.at_level(logging.INFO):
        log.write(record(10), left_s=61.0)
    assert caplog.messages[-1].startswith("step 10  loss 1.5000")
    assert caplog.messages[-1].endswith("0:01:01 left")


def test_records_after_the_checkpoint_and_a_torn_one_are_written_again(tmp_path: Path) -> None:
    log = journal(tmp_path)
    for step in (1, 2, 3):
        log.write(record(step))
    with log.path.open("a") as stream:
        stream.write('{"step": 4, "los')
    log.rewind(2)
    log.write(record(3))
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 2, 3]


def test_tensorboard_reads_back_every_number_of_steps_and_stages(tmp_path: Path) -> None:
    log = journal(tmp_path, tensorboard=True)
    log.write_stage("sentences", [2.0, 1.0])
    log.write({**record(7), "validation_macro_auroc": 0.75})
    log.write(record(8))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("report")] == [(7, 0.5), (8, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("validation_macro_auroc")] == [(7, 0.75)]
    stage = EventAccumulator(str(tmp_path / "tensorboard" / "sentences"))
    stage.Reload()
    assert [(event.step, event.value) for event in stage.Scalars("loss")] == [(1, 2.0), (2, 1.0)]
    assert {"loss", "volumes_per_second", "memory_gib"} <= set(events.Tags()["scalars"])


def test_tensorboard_shows_no_step_twice_after_a_restart(tmp_path: Path) -> None:
    log = journal(tmp_path, tensorboard=True)
    for step in (1, 2, 3):
        log.write({**record(step), "loss": 9.0})
    again = journal(tmp_path, tensorboard=True)
    again.rewind(2)
    again.write({**record(3), "loss": 5.0})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 9.0), (2, 9.0), (3, 5.0)]


def test_a_stage_has_a_file_of_its_own_that_a_restart_replaces(tmp_path: Path) -> None:
    for losses in ([3.0, 2.0, 1.0], [2.5, 1.5]):
        journal(tmp_path).write_stage("sentences", losses)
    lines = [json.loads(line) for line in (tmp_path / "sentences.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.5}]


def test_tensorboard_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'napari-colipri\[train\]'"):
        journal(tmp_path, tensorboard=True)
