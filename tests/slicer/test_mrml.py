"""Says in the ordinary suite which tests it leaves to the environments of slicer-core."""

from __future__ import annotations

import importlib.util

import pytest
from extension import ROOT


def test_tests_on_real_mrml_are_collected() -> None:
    if importlib.util.find_spec("slicer_core") is None:
        pytest.skip("tests/slicer/mrml need slicer-core, which has environments of its own: make test-slicer")
    assert list((ROOT / "tests" / "slicer" / "mrml").glob("test_*.py"))
