"""The autosave journal: what a crash, a full disk, a second window or a damaged file leave of the edits."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from edit_scripts import RandomEditing
from edit_scripts import blank_volume
from edit_scripts import fingerprint
from journaling_process import SEED
from journaling_process import SHAPE

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.journal import journal_path
from colipri_core.errors import AutosaveError
from colipri_core.prompts import Crop
from colipri_core.volume import Volume

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


@pytest.fixture
def volume() -> Volume:
    return blank_volume(SHAPE)


def edited(volume: Volume, folder: Path, edits: int) -> list[str]:
    """Edit at random with autosave; return the fingerprint after each edit."""
    editor = LabelEditor(volume, autosave=folder)
    editing = RandomEditing(editor, seed=3)
    prints = [fingerprint(editor)]
    for _ in range(edits):
        editing.step()
        prints.append(fingerprint(editor))
    editor.close()
    return prints


def reopened(volume: Volume, folder: Path) -> LabelEditor:
    editor = LabelEditor(volume, autosave=folder)
    editor.close()
    return editor


def test_a_journal_brings_back_labels_objects_prompts_and_history(volume: Volume, tmp_path: Path) -> None:
    prints = edited(volume, tmp_path, 80)
    editor = LabelEditor(volume, autosave=tmp_path)
    assert fingerprint(editor) == prints[-1]
    assert editor.state.recovered == len(editor.state.undo) > 10
    editor.undo()
    after_undo = fingerprint(editor)
    editor.close()
    assert fingerprint(reopened(volume, tmp_path)) == after_undo


def test_each_volume_has_a_journal_of_its_own(volume: Volume, tmp_path: Path) -> None:
    edited(volume, tmp_path, 5)
    other = volume.replace_voxels(volume.voxels + 1)
    assert not reopened(other, tmp_path).state.undo
    shutil.copy(journal_path(tmp_path, volume), journal_path(tmp_path, other))
    with pytest.raises(AutosaveError, match="volume_sha256"):
        LabelEditor(other, autosave=tmp_path)


def test_a_record_torn_at_any_byte_is_ignored_and_all_before_it_stay(volume: Volume, tmp_path: Path) -> None:
    editor = LabelEditor(volume, autosave=tmp_path)
    path = journal_path(tmp_path, volume)
    for corner in range(3):
        before, prints = path.stat().st_size, fingerprint(editor)
        mask = np.ones((2, 2, 2), dtype=bool)
        editor.apply(Paint(voxels=Crop(lower=(corner, corner, corner), mask=mask), label=corner + 1))
    editor.close()
    content = path.read_bytes()
    for end in range(before, len(content), 7):
        path.write_bytes(content[:end])
        recovered = LabelEditor(volume, autosave=tmp_path)
        assert fingerprint(recovered) == prints
        recovered.apply(AddObject(name="after the crash"))
        recovered.close()
        assert reopened(volume, tmp_path).state.objects[-1].name == "after the crash"


def test_damage_in_the_middle_keeps_the_edits_before_it_and_a_copy_of_the_file(volume: Volume, tmp_path: Path) -> None:
    prints = edited(volume, tmp_path, 40)
    path = journal_path(tmp_path, volume)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    recovered = fingerprint(reopened(volume, tmp_path))
    assert recovered in prints[1:-1]
    assert path.with_name(f"{path.name}.damaged").read_bytes() == bytes(content)


def test_a_scan_that_was_renamed_keeps_its_edits_and_its_lock(volume: Volume, tmp_path: Path) -> None:
    prints = edited(volume, tmp_path, 5)
    renamed = dataclasses.replace(volume, name="another name")
    editor = LabelEditor(renamed, autosave=tmp_path)
    assert fingerprint(editor) == prints[-1]
    with pytest.raises(AutosaveError, match="Close it there first"):
        LabelEditor(volume, autosave=tmp_path)
    editor.apply(AddObject(name="under another name"))
    editor.close()
    assert "under another name" in {item.name for item in reopened(volume, tmp_path).state.objects}
    assert len(list(tmp_path.glob("*.colipri-edits"))) == 1


def test_a_name_of_any_letters_and_length_makes_a_file_name(volume: Volume, tmp_path: Path) -> None:
    long = dataclasses.replace(volume, name="\U0001d538" * 200)
    edited(long, tmp_path, 2)
    assert reopened(long, tmp_path).state.undo


def test_each_damage_is_said_and_keeps_a_copy_of_its_own(volume: Volume, tmp_path: Path) -> None:
    edited(volume, tmp_path, 20)
    path = journal_path(tmp_path, volume)
    for copies in (1, 2):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        editor = LabelEditor(volume, autosave=tmp_path)
        kept = tmp_path / editor.state.damaged
        assert kept.read_bytes() == bytes(content)
        assert len(list(tmp_path.glob("*.damaged*"))) == copies
        editor.close()
    whole = LabelEditor(volume, autosave=tmp_path)
    whole.apply(AddObject(name="after all that"))
    whole.close()
    assert whole.state.damaged == ""


def test_an_edit_that_was_never_finished_is_no_damage(volume: Volume, tmp_path: Path) -> None:
    edited(volume, tmp_path, 5)
    path = journal_path(tmp_path, volume)
    path.write_bytes(path.read_bytes()[:-3])
    assert reopened(volume, tmp_path).state.damaged == ""
    assert not list(tmp_path.glob("*.damaged*"))


def test_another_file_under_the_journals_name_is_refused_or_set_aside(volume: Volume, tmp_path: Path) -> None:
    path = journal_path(tmp_path, volume)
    path.write_bytes(b"not a journal")
    assert not reopened(volume, tmp_path).state.undo
    assert path.with_name(f"{path.name}.damaged").read_bytes() == b"not a journal"


def test_a_volume_is_edited_in_one_place_at_a_time(volume: Volume, tmp_path: Path) -> None:
    editor = LabelEditor(volume, autosave=tmp_path)
    with pytest.raises(AutosaveError, match="Close it there first"):
        LabelEditor(volume, autosave=tmp_path)
    editor.close()
    reopened(volume, tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(volume: Volume, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AutosaveError, match="Choose one"):
        LabelEditor(volume, autosave=tmp_path / "file" / "folder")


def test_a_full_disk_refuses_the_edit_and_loses_none_before_it(volume: Volume, tmp_path: Path) -> None:
    editor = LabelEditor(volume, autosave=tmp_path)
    editor.apply(AddObject(name="kept"))
    before = fingerprint(editor)
    size = journal_path(tmp_path, volume).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, limits[1]))  # the system refuses to grow the file further
    try:
        with pytest.raises(AutosaveError, match="The edit was not made"):
            editor.apply(AddObject(name="lost"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert fingerprint(editor) == before
    editor.apply(AddObject(name="after"))
    editor.close()
    assert [item.name for item in reopened(volume, tmp_path).state.objects] == ["kept", "after"]


@pytest.mark.parametrize("seed", range(5))
def test_kill_9_at_a_random_moment_loses_no_finished_edit(seed: int, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    command = [sys.executable, str(HERE / "journaling_process.py"), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "1"
        time.sleep(float(np.random.default_rng(seed).uniform(0.0, 0.4)))
    finally:
        os.kill(process.pid, signal.SIGKILL)
    finished = max([1, *(int(line) for line in process.stdout.read().splitlines() if line.strip())])
    process.wait()

    editor = LabelEditor(blank_volume(SHAPE))
    editing = RandomEditing(editor, seed=SEED)
    prints = [fingerprint(editor)]
    for _ in range(finished + 1):  # the one it was at may be saved already
        editing.step()
        prints.append(fingerprint(editor))
    assert fingerprint(reopened(blank_volume(SHAPE), tmp_path)) in prints[finished:]
