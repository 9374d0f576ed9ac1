"""Fixtures of tests on real MRML; they need slicer-core, which has environments of its own (`make test-slicer`)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import slicer
    from scripted import Bench

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
HAS_SLICER = importlib.util.find_spec("slicer_core") is not None

collect_ignore_glob = [] if HAS_SLICER else ["test_*.py"]

if HAS_SLICER:
    sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT / "slicer_extension" / "Colipri"), str(ROOT)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where pictures of the panels go."""
    parser.addoption("--pictures", metavar="FOLDER", help="keep the pictures of the panels in this folder")


@pytest.fixture
def scene() -> Iterator[slicer.vtkMRMLScene]:
    """An empty scene in a wired host."""
    from host import host

    with host() as scene:
        yield scene


@pytest.fixture
def volume(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode:
    """An oblique volume under a parent transform; no two voxels are alike."""
    import nodes
    import numpy as np

    voxels = np.arange(np.prod(nodes.SHAPE), dtype=np.int16).reshape(nodes.SHAPE) - 800
    node = nodes.add_volume(scene, voxels, nodes.AFFINE)
    nodes.put_under(node, nodes.MOVED)
    return node


@pytest.fixture
def bench(scene: slicer.vtkMRMLScene, tmp_path: Path) -> Iterator[Bench]:
    """The module's controllers on an engine without a model."""
    from scripted import Bench

    made = Bench(scene, tmp_path / "edits")
    yield made
    made.engine.gate.set()
    made.logic.close()
    assert made.logic.desk.runner.join(20)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CTs, which is not part of the repository."""
    import os

    folder = Path(os.environ.get("COLIPRI_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real test data are not here: set COLIPRI_TEST_DATA to their folder to run this test")
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A real server, of a Python that has torch."""
    from servers import PYTHON_VARIABLE
    from servers import server_python
    from servers import serving

    if server_python() is None:
        pytest.skip(f"no Python to serve with: set {PYTHON_VARIABLE} to one that has napari-colipri[local,server]")
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running
