"""The import contracts of pyproject.toml fail when they are violated: a rule that cannot fail guards nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

PACKAGES = {
    "colipri_core": ROOT / "colipri_core",
    "colipri_training": ROOT / "training" / "colipri_training",
    "napari_colipri": ROOT / "napari_colipri",
}
# File that gets a forbidden line, the line, and the contract it must break.
VIOLATIONS = [
    ("colipri_core/io/extra.py", "import qtpy", "The core knows no GUI"),
    ("colipri_core/inference/extra.py", "from colipri_training import phantoms", "The core knows no GUI"),
    ("colipri_core/geometry.py", "def load():\n    import torch", "Torch and its company"),
    ("napari_colipri/extra.py", "import torch.nn", "Torch and its company"),
    ("napari_colipri/extra.py", "import colipri_training", "The front ends and training"),
    ("napari_colipri/extra.py", "import colipri_core.model", "The napari plugin sees"),
    ("colipri_training/extra.py", "import colipri_core.cli", "Training sees"),
    ("colipri_core/io/extra.py", "import fastapi", "What serves stays"),
    ("colipri_core/cli/extra.py", "import uvicorn", "What serves stays"),
    ("colipri_core/geometry.py", "import colipri_core.volume", "Layers of the core"),
    ("colipri_core/inference/extra.py", "import colipri_core.remote.server", "Layers of the core"),
    ("colipri_core/model/extra.py", "import colipri_core.inference", "Layers of the core"),
    ("colipri_core/astray.py", "", "Layers of the core"),
]


def broken_contracts(folder: Path) -> str:
    """Run import-linter on a copy of the packages; return the lines that report broken contracts."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    run = subprocess.run(
        [*command, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "Contracts:" in run.stdout, run.stdout + run.stderr
    return "\n".join(line for line in run.stdout.splitlines() if "BROKEN" in line)


def with_line(folder: Path, path: str, line: str) -> Path:
    """Copy the packages to a folder and add a line to one of their files, or a file of that line."""
    for name, source in PACKAGES.items():
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("bundles", "__pycache__", "*.yaml"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / path).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    return folder


def test_an_allowed_import_is_not_reported(tmp_path: Path) -> None:
    folder = with_line(tmp_path, "colipri_core/model/extra.py", "import torch\nimport colipri_core.volume")

    assert broken_contracts(folder) == ""


@pytest.mark.parametrize(("path", "line", "contract"), VIOLATIONS)
def test_a_violation_is_reported(path: str, line: str, contract: str, tmp_path: Path) -> None:
    folder = with_line(tmp_path, path, line)

    assert contract in broken_contracts(folder)
