"""A tiny prepared run, made once a session from real phantoms at a coarse grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from colipri_training.run import Run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a `smoke` run whose phantoms and tokenizer are prepared."""
    folder = tmp_path_factory.mktemp("run")
    for _ in Run("smoke", folder).prepare():
        pass
    return folder
