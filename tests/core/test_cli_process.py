"""The command line as a process: Ctrl-C, and stdout that stays clean whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chests import chest
from random_bundles import save_random_bundle

from colipri_core.io import write_volume

RUN = "import sys; from colipri_core.cli.main import run; sys.exit(run())"

SLOW_ENGINE = """
import time
from colipri_core.inference.runtime import ModelRuntime

def encode(self, image, report):
    open({flag!r}, "w").close()
    for step in range(10_000):
        report(step / 10_000, "slow")
        time.sleep(0.01)

ModelRuntime.warm_up = lambda self, report: None
ModelRuntime.encode = encode
"""


@pytest.fixture
def command(tmp_path: Path):
    bundle = save_random_bundle(tmp_path / "models" / "random")
    ct = write_volume(chest(), tmp_path / "chest.nii.gz")
    return ["classify", str(ct), "--model", str(bundle), "--json"]


def start(script: str, arguments: list[str], tmp_path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "COLIPRI_CACHE_DIR": str(tmp_path / "cache")}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_stdout_is_one_document_and_monai_is_not_loaded(command: list[str], tmp_path: Path) -> None:
    """MONAI takes seconds to import, and only outlining structures needs it."""
    script = "import sys; from colipri_core.cli.main import run; sys.exit(run() or 5 * ('monai' in sys.modules))"
    process = start(script, command, tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert len(json.loads(out)["findings"]) == 18


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_where_no_more_can_be_written_it_is_3_and_the_old_file_stays(tmp_path: Path) -> None:
    """Every writer meets the limit itself: nibabel, ITK's NRRD and MetaImage."""
    ct = write_volume(chest(), tmp_path / "chest.nii.gz")
    targets = [tmp_path / f"old{suffix}" for suffix in (".nii.gz", ".nii", ".nrrd", ".mha")]
    for target in targets:
        target.write_text("old")
    script = (
        "import resource, sys; from colipri_core.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "sys.exit([main(['convert', sys.argv[1], target]) for target in sys.argv[2:]] != [3] * (len(sys.argv) - 2))"
    )
    process = start(script, [str(ct), *map(str, targets)], tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out == ""
    for target in targets:
        assert f'error: Cannot write "{target}"' in err
        assert target.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == sorted([ct, *targets])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_cancels_with_130(command: list[str], tmp_path: Path) -> None:
    flag = tmp_path / "encoding"
    process = start(SLOW_ENGINE.format(flag=str(flag)) + RUN, command, tmp_path)
    while not flag.exists() and process.poll() is None:
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out) == {
        "error": {"code": "cancelled", "message": "The work was cancelled. Nothing was changed."}
    }
    assert err.splitlines()[-1] == "error: The work was cancelled. Nothing was changed."
    assert "Traceback" not in err
