"""The demo renders the window a user would see, also where there is no display."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from skimage.io import imread

from colipri_core.errors import InputError
from colipri_core.errors import MissingDependencyError
from napari_colipri import demo
from napari_colipri.display import virtual_display

SCRIPT = """
import json, pathlib, sys
import napari_colipri.backend
from scripted_engine import ScriptedEngine
napari_colipri.backend.open_engine = lambda *_args, **_options: ScriptedEngine()
from napari_colipri.demo import run
shown = []
result = run(screenshot=pathlib.Path(sys.argv[1]), device="cpu", progress=lambda *step: shown.append(step))
print(json.dumps({"case": result.case, "top": result.top_finding, "model": result.model, "steps": len(shown)}))
"""


def test_without_a_display_the_window_is_drawn_into_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "out" / "demo.png"
    environment = {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    folders = [str(folder) for folder in Path(__file__).parents[:2]]
    environment["PYTHONPATH"] = os.pathsep.join([*folders, environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, str(picture)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert answer.returncode == 0, answer.stderr

    pixels = imread(picture)
    assert pixels.shape[:2] == (demo.SIZE[1], demo.SIZE[0])
    canvas = pixels[200:800, 450:1000, :3]
    assert canvas.std() > 20
    assert len({tuple(pixel) for pixel in canvas[::7, ::7].reshape(-1, 3).tolist()}) > 100
    said = json.loads(answer.stdout)
    assert (said["case"], said["top"]) == ("phantom_chest", "Pericardial effusion")
    assert said["model"].startswith("scripted (5c21b7ed)")
    assert said["steps"] > 0


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_colipri.demo.has_display", lambda: False)

    with pytest.raises(InputError, match="--screenshot"):
        demo.run()


def test_without_xvfb_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)

    with pytest.raises(MissingDependencyError, match="apt-get install xvfb"), virtual_display():
        pass
