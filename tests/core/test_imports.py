"""What a fresh interpreter loads: nothing heavy before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "monai", "tokenizers", "safetensors", "einops", "napari", "qtpy", "PySide6", "vtk"}
STORES = {"lancedb", "pyarrow", "filelock", "PIL"}
SERVING = {"fastapi", "prometheus_client", "starlette", "uvicorn"}
SERVERS = {"fastapi", "starlette", "uvicorn", "pydantic", "scipy"}
READERS = {"SimpleITK", "nibabel", "pydicom", "highdicom"}


def loaded_by(statement: str) -> set[str]:
    """Top-level packages a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(output.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import colipri_core",
        "import napari_colipri",
        "import colipri_core.io, colipri_core.cache, colipri_core.preprocess",
        "import colipri_core.vocabulary.wordings, colipri_core.model.spec",
        "import colipri_core.cli.main",
        "import colipri_core.index",
    ],
)
def test_the_base_loads_no_torch_and_no_viewer(statement: str) -> None:
    assert not loaded_by(statement) & (HEAVY | STORES | SERVING)


@pytest.mark.parametrize("package", ["colipri_core.remote.client", "colipri_core.remote.protocol.questions"])
def test_the_client_loads_no_server_and_no_reader(package: str) -> None:
    assert not loaded_by(f"import {package}") & (HEAVY | STORES | SERVERS | READERS)


@pytest.mark.parametrize("statement", ["import colipri_core", "import colipri_core.cli.main"])
def test_readers_are_loaded_when_a_file_is_read(statement: str) -> None:
    assert not loaded_by(statement) & READERS


def test_help_loads_nothing_heavy() -> None:
    for verb in ("['classify', '--help']", "['bench', '--help']", "['index', 'add', '--help']", "['serve', '--help']"):
        statement = f"from colipri_core.cli.main import main\nassert main({verb}) == 0"
        assert not loaded_by(statement) & (HEAVY | READERS | STORES | SERVING)
