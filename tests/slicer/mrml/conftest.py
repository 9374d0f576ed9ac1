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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
HAS_SLICER = importlib.util.find_spec("slicer") is not None

collect_ignore_glob = [] if HAS_SLICER else ["test_*.py"]

if HAS_SLICER:
    sys.path[:0] = [str(HERE), str(ROOT / "slicer_extension" / "Colipri"), str(ROOT)]


@pytest.fixture
def scene() -> Iterator[slicer.vtkMRMLScene]:
    """An empty scene in a wired host."""
    from host import host

    with host() as scene:
        yield scene
