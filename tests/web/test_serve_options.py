"""What `colipri serve` says about cases of the browser view before it loads a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from colipri_core.cli.main import main
from colipri_core.errors import MissingDependencyError


def test_cases_without_the_browser_view_are_wrong_usage(ct: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", str(ct)]) == 2
    assert "Add --web" in capsys.readouterr().err


def test_a_case_that_is_not_there_is_unreadable(capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--web", "nowhere.nii.gz"]) == 3
    assert "found nothing there" in capsys.readouterr().err


def test_a_missing_viewer_library_is_said_before_the_model_is_loaded(
    ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLIPRI_WEB_LIBRARY", str(tmp_path / "nowhere"))
    arguments = ["serve", "--web", str(ct), "--state", str(tmp_path), "--port", "0", "--model", "no such model"]
    assert main(arguments) == MissingDependencyError.exit_code
    assert "npm pack @niivue/niivue@" in capsys.readouterr().err
