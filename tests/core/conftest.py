"""What tests of the core share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from colipri_core.cli.main import main


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command in this process; returns its document, or the error in it."""
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
        found = main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert found == status, captured
        document = json.loads(captured.out)
        return document.get("error", document)

    return run
