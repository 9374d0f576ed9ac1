"""Checkpoints are whole or not used, whatever happens while they are written or afterwards."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from colipri_training import checkpoints as module
from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import Checkpoints


def save(store: Checkpoints, *steps: int) -> None:
    for step in steps:
        store.save({"step": step, "weights": torch.full((1000,), float(step))}, step)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


def step_of(store: Checkpoints) -> int:
    state = store.load()
    assert state is not None
    assert state["weights"][0] == state["step"]
    return int(state["step"])


def test_none_yet(store: Checkpoints) -> None:
    assert store.load() is None


def test_the_last_two_stay(store: Checkpoints) -> None:
    save(store, 1, 2, 3)
    assert step_of(store) == 3
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "index.json",
        "step-00000002.pt",
        "step-00000003.pt",
    ]


def test_one_cut_in_half_is_refused_and_the_one_before_it_used(
    store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    save(store, 1, 2)
    cut_in_half(store.folder / "step-00000002.pt")
    with caplog.at_level(logging.WARNING):
        assert step_of(store) == 1
    assert "step-00000002.pt is damaged" in caplog.text
    save(store, 2)
    assert step_of(store) == 2


def test_a_flipped_bit_is_noticed(store: Checkpoints) -> None:
    save(store, 1, 2)
    path = store.folder / "step-00000002.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert step_of(store) == 1


def test_nothing_whole_is_an_error_and_no_fresh_start(store: Checkpoints) -> None:
    save(store, 1, 2)
    for path in store.folder.glob("*.pt"):
        cut_in_half(path)
    with pytest.raises(CheckpointError, match=r"found 2 damaged"):
        store.load()


@pytest.mark.parametrize("moment", ["save", "file_sha256", "write_json"])
def test_a_death_while_writing_leaves_the_one_before(
    store: Checkpoints, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    save(store, 1)
    with monkeypatch.context() as patch:
        patch.setattr(module.torch if moment == "save" else module, moment, full)
        with pytest.raises(OSError, match="No space"):
            save(store, 2)
    assert step_of(store) == 1
    save(store, 2)
    assert step_of(store) == 2
    assert len(list(store.folder.iterdir())) == 3
