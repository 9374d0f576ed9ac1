"""Draw the pictures of labelling: objects outlined by clicks and by a phrase in the generated chest, and a project.

Usage: label_picture.py LABEL.png PROJECT.png [--model MODEL]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.resources
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.prompts import Point
from colipri_core.vocabulary.structures import concept
from napari_colipri.demo import DemoOptions
from napari_colipri.demo import Scene
from napari_colipri.demo import analysed
from napari_colipri.display import has_display
from napari_colipri.display import virtual_display
from napari_colipri.sample import SAMPLE

LEFT, TOP, BOTTOM = 0.26, 0.08, 1.0
"""Shares of the window that are cut away on the left and bounded above and below."""

STRUCTURES = ("Liver", "Heart", "Aorta", "Spleen", "Left lower lung lobe", "Right lower lung lobe")
"""What is clicked: the first of these that the model found."""

PHRASE = "pleural effusion"
"""What is outlined by its name."""

NOISE_HU = (0.0, 25.0, 60.0, 110.0)
"""White noise that is added to the copies of the generated chest which make up the project, one each."""


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("label", type=Path)
    parser.add_argument("project", type=Path)
    parser.add_argument("--model", default="tiny")
    arguments = parser.parse_args()
    with (
        contextlib.nullcontext() if has_display() else virtual_display(),
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ["COLIPRI_EDITS_DIR"] = str(Path(folder) / "edits")
        draw(Path(folder), arguments)


def draw(folder: Path, arguments: argparse.Namespace) -> None:
    """Draw both, with edits and scans in a folder."""
    with analysed(None, DemoOptions(model=arguments.model)) as scene:
        for section in (scene.dock.findings_section, scene.dock.structures_section, scene.dock.report.section):
            section.header.setChecked(False)
        scene.dock.similar.section.header.setChecked(False)
        draw_label(scene, arguments.label)
        draw_project(scene, folder / "scans", arguments.project)


def draw_label(scene: Scene, target: Path) -> None:
    """Click on a structure and name it, ask for a phrase, and write what the right of the window shows."""
    dock, labelling = scene.dock, scene.dock.labelling
    dock.label_section.header.setChecked(True)
    dock.workflow.hide_evidence()
    case = dock.workflow.case
    assert case is not None, "the scene is analysed"
    if case.labels is not None:
        case.labels.visible = False
    found = {row.name: row for row in case.structures if row.center is not None}
    row = next(found[name] for name in STRUCTURES if name in found)
    dock.structures.go_to(row)
    if case.labels is not None:
        case.labels.visible = False
    labelling.press("point")
    scene.settle()
    middle = case.source.grid.layer_to_ras(row.center)
    for offset, positive in (((0.0, 0.0, 0.0), True), ((18.0, 0.0, 0.0), True), ((0.0, 62.0, 0.0), False)):
        r, a, s = (float(value) for value in middle + np.asarray(offset))
        labelling.prompt(Point(ras=(r, a, s), positive=positive))
        scene.settle()
    labelling.change_object(name=row.name, code=concept(row.name).code, color=row.color)
    scene.settle()
    labelling.add_object()
    scene.settle()
    labelling.ask_phrase(PHRASE)
    scene.settle()
    dock.structures.go_to(row)
    scene.viewer.reset_view()
    scene.settle()
    write(scene, target)


def draw_project(scene: Scene, folder: Path, target: Path) -> None:
    """Open a project of generated chests, rank it, mark one, and write what the right of the window shows."""
    dock = scene.dock
    folder.mkdir()
    with importlib.resources.as_file(importlib.resources.files("napari_colipri") / "samples" / SAMPLE) as path:
        volume = read_volume(path)
    rng = np.random.default_rng(0)
    for number, noise in enumerate(NOISE_HU, start=1):
        voxels = volume.voxels + noise * rng.standard_normal(volume.shape, dtype=np.float32)
        write_volume(volume.replace_voxels(np.round(voxels).astype(np.int16)), folder / f"chest-{number}.nii.gz")
    dock.label_section.header.setChecked(False)
    dock.project_section.header.setChecked(True)
    desk = dock.project_panel.desk
    desk.open(folder)
    scene.settle()
    desk.rank()
    scene.settle()
    desk.go(desk.project.cases[-1].name)
    scene.settle()
    desk.mark("done")
    desk.next_open()
    scene.settle()
    write(scene, target)


def write(scene: Scene, target: Path) -> None:
    """Write the window without its left and its menu."""
    picture = scene.viewer.screenshot(canvas_only=False, flash=False)
    height, width = picture.shape[:2]
    cut = picture[round(TOP * height) : round(BOTTOM * height), round(LEFT * width) :]
    Image.fromarray(cut).save(target)


if __name__ == "__main__":
    main()
