"""The array cache: hits, limits, damage, and several processes at once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from colipri_core import cache as cache_module
from colipri_core.cache import ArrayCache
from colipri_core.cache import cache_key
from colipri_core.cache import default_folder

BIG = {"grid": np.arange(25_000, dtype=np.float32)}  # 100 kB


@pytest.fixture
def cache(tmp_path: Path) -> ArrayCache:
    return ArrayCache(tmp_path / "features", max_bytes=10**6)


def test_arrays_come_back_as_they_were(cache: ArrayCache) -> None:
    arrays = {"a": np.arange(6, dtype=np.int16).reshape(1, 2, 3), "b": np.float32([np.inf, -0.0])}
    assert cache.store("key", arrays)
    found = cache.load("key")
    assert found is not None
    assert {name: (array.dtype, array.tobytes()) for name, array in found.items()} == {
        name: (array.dtype, array.tobytes()) for name, array in arrays.items()
    }


def test_an_unknown_key_is_a_miss(cache: ArrayCache) -> None:
    assert cache.load("nothing") is None


@pytest.mark.parametrize("key", ["../evil", "", "a/b", "a.b"])
def test_keys_cannot_leave_the_folder(cache: ArrayCache, key: str) -> None:
    with pytest.raises(ValueError, match="cache_key"):
        cache.load(key)


def test_keys_follow_every_part() -> None:
    base = {"volume": "a", "spec": {"x": 1, "y": [1, 2]}}
    assert cache_key(**base) == cache_key(spec={"y": [1, 2], "x": 1}, volume="a")
    changed = [{**base, "volume": "b"}, {**base, "spec": {"x": 1, "y": [2, 1]}}, {**base, "weights": "w"}]
    assert len({cache_key(**parts) for parts in (base, *changed)}) == 4


class TestLimit:
    def test_the_entry_not_read_for_longest_goes_first(self, cache: ArrayCache) -> None:
        for number in range(9):
            cache.store(f"k{number}", BIG)
            os.utime(cache.folder / f"k{number}.npz", (1000 + number, 1000 + number))
        assert cache.load("k0") is not None
        cache.store("k9", BIG)
        assert cache.size_bytes() <= 10**6
        assert cache.load("k0") is not None
        assert cache.load("k9") is not None
        assert cache.load("k1") is None

    def test_what_exceeds_the_limit_is_not_stored(self, tmp_path: Path) -> None:
        cache = ArrayCache(tmp_path, max_bytes=1000)
        assert not cache.store("key", BIG)
        assert len(cache) == 0

    def test_zero_switches_the_cache_off(self, tmp_path: Path) -> None:
        assert not ArrayCache(tmp_path, max_bytes=0).store("key", {"a": np.zeros(1)})

    def test_the_environment_sets_folder_and_limit(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "here"))
        monkeypatch.setenv("COLIPRI_CACHE_GB", "0.5")
        cache = ArrayCache()
        assert (cache.folder, cache.max_bytes) == (default_folder(), 2**29)
        assert default_folder() == tmp_path / "here"

    @pytest.mark.parametrize("value", ["lots", "-1", "inf", "nan"])
    def test_a_nonsense_limit_is_refused(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("COLIPRI_CACHE_GB", value)
        with pytest.raises(ValueError, match="COLIPRI_CACHE_GB"):
            ArrayCache()

    def test_clear_removes_everything(self, cache: ArrayCache) -> None:
        cache.store("a", BIG)
        cache.clear()
        assert (len(cache), cache.size_bytes()) == (0, 0)


class TestDamage:
    @pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
    def test_a_damaged_entry_is_dropped_with_a_log_line(
        self, cache: ArrayCache, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache.store("key", BIG)
        path = cache.folder / "key.npz"
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle] ^= 0xFF
        damaged = {"truncated": content[:middle], "flipped": content, "empty": b"", "text": b"not an archive"}
        path.write_bytes(bytes(damaged[damage]))
        with caplog.at_level(logging.WARNING):
            assert cache.load("key") is None
        assert "damaged" in caplog.text
        assert not path.exists()
        assert cache.store("key", BIG)
        assert cache.load("key") is not None

    def test_a_pickle_is_never_run(self, cache: ArrayCache) -> None:
        cache.folder.mkdir(parents=True)
        np.savez(cache.folder / "key.npz", a=np.array([{"run": "me"}], dtype=object))
        assert cache.load("key") is None

    def test_a_failed_write_keeps_the_old_entry_and_leaves_no_files(
        self, cache: ArrayCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache.store("key", BIG)

        def full_disk(stream, **arrays) -> None:
            stream.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache_module.np, "savez", full_disk)
        assert not cache.store("key", {"grid": np.zeros(3)})
        assert "No space left" in caplog.text
        monkeypatch.undo()
        assert [path.name for path in cache.folder.iterdir()] == ["key.npz"]
        found = cache.load("key")
        assert found is not None
        np.testing.assert_array_equal(found["grid"], BIG["grid"])

    def test_remains_of_killed_writers_are_removed(self, cache: ArrayCache) -> None:
        cache.folder.mkdir(parents=True)
        old, fresh = cache.folder / "old.tmp", cache.folder / "fresh.tmp"
        old.write_bytes(b"x")
        fresh.write_bytes(b"x")
        os.utime(old, (time.time() - 7200,) * 2)
        cache.store("key", BIG)
        assert not old.exists()
        assert fresh.exists()


def test_processes_writing_one_small_cache_never_see_a_broken_entry(tmp_path: Path) -> None:
    script = """
import sys, logging, numpy as np
from pathlib import Path
from colipri_core.cache import ArrayCache
logging.basicConfig(level="WARNING")
cache = ArrayCache(Path(sys.argv[1]), max_bytes=300_000)
for turn in range(60):
    key = f"k{turn % 5}"
    found = cache.load(key)
    assert found is None or (found["grid"] == turn % 5).all()
    assert cache.store(key, {"grid": np.full(20_000, turn % 5, dtype=np.float32)})
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert "".join(outputs) == ""
    assert ArrayCache(tmp_path).size_bytes() <= 400_000
