"""The scenarios that the module's own test runs inside the application."""

from __future__ import annotations

import pytest
import slicer

from ColipriLib.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(scene: slicer.vtkMRMLScene, name: str) -> None:
    SCENARIOS[name](scene)
