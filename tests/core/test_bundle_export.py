"""A bundle is written completely or not at all."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

import pytest
from bundles import small_model
from bundles import small_spec
from bundles import small_tokenizer

from colipri_core.model import export
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import save_bundle


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    """What a new version of the bundle is saved from."""
    return {"spec": small_spec(name="new"), "model": small_model(1), "tokenizer": small_tokenizer(tmp_path)}


@pytest.fixture
def folder(tmp_path: Path, parts: dict[str, Any]) -> Path:
    """An old version of the bundle."""
    path = tmp_path / "models" / "small"
    save_bundle(path, **{**parts, "spec": small_spec(name="old"), "model": small_model(0)})
    return path


def assert_old_bundle_is_there(folder: Path) -> None:
    assert load_bundle(folder).spec.name == "old"
    assert [p.name for p in folder.parent.iterdir()] == ["small"]


def test_an_existing_bundle_is_kept(folder: Path, parts: dict[str, Any]) -> None:
    with pytest.raises(FileExistsError, match=r"overwrite"):
        save_bundle(folder, **parts)
    assert_old_bundle_is_there(folder)


def test_overwrite_replaces_and_leaves_nothing_behind(folder: Path, parts: dict[str, Any]) -> None:
    written = save_bundle(folder, **parts, overwrite=True)
    assert load_bundle(folder).spec == written
    assert written.name == "new"
    assert [p.name for p in folder.parent.iterdir()] == ["small"]


@pytest.mark.parametrize("step", ["save_file", "save_tokenizer", "_publish"])
def test_a_full_disk_leaves_the_old_bundle(
    folder: Path, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, step, full)
    with pytest.raises(OSError, match=r"No space"):
        save_bundle(folder, **parts, overwrite=True)
    assert_old_bundle_is_there(folder)


def test_a_failing_rename_brings_the_old_bundle_back(
    folder: Path, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if target == folder and ".old." not in str(self):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OSError, match=r"Input/output"):
        save_bundle(folder, **parts, overwrite=True)
    assert_old_bundle_is_there(folder)


def test_spec_of_another_model_is_refused(tmp_path: Path, parts: dict[str, Any]) -> None:
    other = dataclasses.replace(small_spec().architecture, pooler_heads=3)
    with pytest.raises(ValueError, match=r"belong together"):
        save_bundle(tmp_path / "b", **{**parts, "spec": small_spec(architecture=other)})
