"""Bad input to the case store: each is refused in words that help, and the store stays what it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lancedb
import numpy as np
import pytest
from store_scenes import DIMENSION
from store_scenes import embedding
from store_scenes import record
from store_scenes import unit

from colipri_core.errors import StoreBusyError
from colipri_core.errors import StoreError
from colipri_core.errors import StoreModelError
from colipri_core.index import CaseStore
from colipri_core.index import open_store
from colipri_core.index.lock import writer_lock

OTHER = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    store = open_store(tmp_path / "store", "w")
    store.add([record(number) for number in range(3)])
    return store


def test_an_empty_store_finds_nothing(tmp_path: Path) -> None:
    open_store(tmp_path / "store", "w")
    store = open_store(tmp_path / "store")

    assert (len(store), store.about.card) == (0, None)
    assert store.search(embedding(unit(1))) == []
    assert store.search(embedding(unit(1)), by_region=True) == []
    assert store.sentences(embedding(unit(1))) == []
    assert list(store.cases()) == []


@pytest.mark.parametrize("by_region", [False, True])
def test_a_query_of_other_weights_is_refused_naming_both(store: CaseStore, by_region: bool) -> None:
    with pytest.raises(StoreModelError, match="index rebuild") as caught:
        store.search(embedding(unit(1), OTHER), by_region=by_region)

    assert "a" * 64 in str(caught.value)
    assert OTHER in str(caught.value)
    assert (caught.value.stored, caught.value.given) == ("a" * 64, OTHER)


@pytest.mark.parametrize("change", ["add", "update"])
def test_cases_of_other_weights_are_refused(store: CaseStore, change: str) -> None:
    with pytest.raises(StoreModelError):
        getattr(store, change)([record(1 if change == "update" else 9, sha256=OTHER)])
    assert {case.case for case in store.cases()} == {"case-0", "case-1", "case-2"}


@pytest.mark.parametrize("broken", ["embedding", "region", "sentence", "length"])
def test_a_vector_that_is_none_adds_nothing_of_its_batch(store: CaseStore, broken: str) -> None:
    bad = unit(5).copy()
    bad[3] = np.nan
    good, case = record(4), record(5)
    object.__setattr__(case, "embedding", embedding(bad)) if broken == "embedding" else None
    if broken == "region":
        case = record(5, regions=(unit(1), bad))
    elif broken == "sentence":
        object.__setattr__(case, "sentences", {"Text.": bad})
    elif broken == "length":
        case = record(5, regions=(unit(1)[:-1],))

    with pytest.raises(StoreError, match="case-5"):
        store.add([good, case])
    assert (store.info().cases, store.info().regions, store.info().sentences) == (3, 3, 3)


def test_a_query_with_nan_is_refused(store: CaseStore) -> None:
    with pytest.raises(StoreError, match="NaN"):
        store.search(embedding(np.full(DIMENSION, np.nan, dtype=np.float32)))


@pytest.mark.parametrize(
    "text",
    [
        "\u0635\u0648\u0631\u0629 \u0637\u0628\u0642\u064a\u0629 \u0639\u0627\u062f\u064a\u0629.",
        "\u5e73\u626b\u672a\u89c1\u5f02\u5e38\u3002",
        "word " * 210_000,
    ],
)
def test_reports_of_any_script_and_of_a_megabyte_come_back_whole(store: CaseStore, text: str) -> None:
    store.add([record(7, report=text)])
    (match, *_) = store.search(embedding(unit(7)))
    assert match.report == text


def test_a_missing_store_is_not_made_by_reading_it(tmp_path: Path) -> None:
    for mode in ("r", "r+"):
        with pytest.raises(StoreError, match="index add"):
            open_store(tmp_path / "none", mode)
    assert not (tmp_path / "none").exists()


def test_a_folder_of_other_things_is_no_store_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all")
    for mode in ("r", "r+", "w"):
        with pytest.raises(StoreError, match="store"):
            open_store(tmp_path, mode)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    path.write_bytes(b"not a folder")
    for mode in ("r", "w"):
        with pytest.raises(StoreError):
            open_store(path, mode)
    assert path.read_bytes() == b"not a folder"


def test_a_store_of_a_newer_format_is_refused_unchanged(store: CaseStore, tmp_path: Path) -> None:
    table = lancedb.connect(tmp_path / "store").open_table("about")
    table.update(values={"format": 99})
    for mode in ("r", "r+", "w"):
        with pytest.raises(StoreError, match=r"99.*update napari-colipri"):
            open_store(tmp_path / "store", mode)
    assert table.search().limit(1).to_list()[0]["format"] == 99


def test_a_damaged_table_is_reported_as_such(store: CaseStore, tmp_path: Path) -> None:
    for data in (tmp_path / "store" / "cases_1.lance" / "data").iterdir():
        data.write_bytes(b"\x00" * 16)
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(tmp_path / "store").search(embedding(unit(1)))


def test_a_store_whose_making_was_cut_short_can_be_made_again(store: CaseStore, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    (folder / "about.lance" / "data").mkdir(parents=True)
    (folder / ".writer.lock").touch()
    with pytest.raises(StoreError, match="found none"):
        open_store(folder)
    assert len(open_store(folder, "w")) == 0


def test_the_second_writer_waits_and_then_says_so(store: CaseStore, tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusyError, match="Another process"), writer_lock(store.address, timeout=0.2):
            pass
        assert len(store.search(embedding(unit(1)))) == 3
    finally:
        holder.kill()
        holder.wait()
    store.add([record(9)])  # the lock went with its holder
    assert len(store) == 4


def test_a_killed_writer_leaves_every_finished_batch_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    script = Path(__file__).parents[1] / "store_scenes.py"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])},
    )
    finished = [int(writer.stdout.readline()) for _ in range(3)]
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    finished += [int(line) for line in writer.stdout.read().split()]
    writer.wait()

    store = open_store(folder, "r+")
    count = len(store)
    assert count % 7 == 0
    assert count >= 7 * len(finished)
    assert {match.case for match in store.search(embedding(unit(0)), count)} == {f"case-{n}" for n in range(count)}
    found = store.search(embedding(unit(0)), count, by_region=True)
    assert len(found) == count
    store.tidy()
    assert store.info().regions == count * 20
    store.add([record(count)])
    assert len(store) == count + 1


_HOLD = """
import sys, time
from colipri_core.index.lock import writer_lock
with writer_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""

_WRITE = """
import sys
from store_scenes import record, unit
from colipri_core.index import open_store
store = open_store(sys.argv[1], "w")
for batch in range(1000):
    numbers = range(7 * batch, 7 * batch + 7)
    store.add([record(n, regions=tuple(unit(100 * n + part) for part in range(20))) for n in numbers])
    print(batch, flush=True)
"""
