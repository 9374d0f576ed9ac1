"""The benchmark of editing runs, and its watch over every state holds: here on a small volume, there on a real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chests import chest

from colipri_core.io.write import write_volume

ROOT = Path(__file__).resolve().parents[3]


def run(output: Path, *arguments: str) -> dict[str, object]:
    command = [sys.executable, str(ROOT / "benchmarks" / "editing.py"), "--output", str(output), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(output.read_text())


def test_a_few_hundred_edits_on_a_small_volume(tmp_path: Path) -> None:
    figures = run(tmp_path / "e.json", "--edits", "300", "--shape", "41", "37", "29")
    assert figures["every_state_equals_its_replay"]
    assert figures["kinds"]["undo"] > 20


def test_edits_on_a_ct_whose_prompts_the_shipped_model_answers(tmp_path: Path) -> None:
    write_volume(chest(), tmp_path / "ct.nii.gz")
    figures = run(tmp_path / "e.json", "--edits", "40", "--ct", str(tmp_path / "ct.nii.gz"))
    assert figures["every_state_equals_its_replay"]
    assert figures["answers"]["name"] == "clicks"
    assert figures["kinds"]["prompt"] >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_edits_on_a_volume_of_real_size(tmp_path: Path) -> None:
    figures = run(tmp_path / "e.json", "--edits", "10000")
    assert figures["every_state_equals_its_replay"]
