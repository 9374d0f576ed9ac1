"""Fixtures every test folder uses."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings
from torchvision_shim import install_torchvision_shim

if importlib.util.find_spec("torchvision"):  # first of all: transformers that failed to import it stays broken
    install_torchvision_shim()

# A shared machine is slow at times: no deadline for one example, and as many examples as a quick suite allows.
settings.register_profile("quick", deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "25")))
settings.load_profile("quick")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CTs, masks and reports, which is not part of the repository."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("COLIPRI_TEST_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real test data are not here: set COLIPRI_TEST_DATA to their folder to run this test")
    return folder
