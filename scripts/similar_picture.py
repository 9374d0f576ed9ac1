"""Draw the picture of the Similar panel: generated cases like the sample, the nearest opened beside it.

Usage: similar_picture.py SIMILAR.png [--cases 12] [--model MODEL]
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from PIL import Image

import colipri_core as cc
from colipri_core.index.add import add_cases
from colipri_core.index.sources import find_sources
from colipri_training.phantoms.dataset import write_dataset
from colipri_training.phantoms.grid import PhantomGrid
from napari_colipri.demo import DemoOptions
from napari_colipri.demo import Scene
from napari_colipri.demo import analysed
from napari_colipri.display import has_display
from napari_colipri.display import virtual_display

FIRST_SEED = 3_000_000
"""Seeds that neither training nor evaluation uses."""

GRID = PhantomGrid(shape=(160, 160, 160), spacing=(2.4, 2.4, 2.4))
LEFT, TOP = 0.2, 0.08
"""Shares of the window that are cut away on the left and above."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--model", default="tiny")
    arguments = parser.parse_args()
    display = contextlib.nullcontext() if has_display() else virtual_display()
    with tempfile.TemporaryDirectory() as folder, display:
        store = fill(Path(folder), arguments.cases, arguments.model)
        with analysed(None, DemoOptions(model=arguments.model)) as scene:
            draw(scene, store, arguments.target)


def fill(folder: Path, cases: int, model: str) -> Path:
    """Generate cases and put them in a store; returns its folder."""
    for _ in write_dataset(folder / "cases", range(FIRST_SEED, FIRST_SEED + cases), GRID):
        pass
    with cc.open_engine(model) as engine:
        add_cases(cc.open_store(folder / "store", "w"), engine, find_sources([folder / "cases" / "manifest.csv"]))
    return folder / "store"


def draw(scene: Scene, store: Path, target: Path) -> None:
    """Search the store for what the window shows, open the nearest case, and write the picture."""
    dock = scene.dock
    for section in (dock.findings_section, dock.structures_section, dock.report.section):
        section.header.setChecked(False)
    dock.similar.section.header.setChecked(True)
    panel = dock.similar.panel
    panel.store.setText(str(store))
    panel.store.editingFinished.emit()
    panel.similar.click()
    scene.settle()
    panel.list.chosen.emit(panel.model.rows[0])
    panel.open.click()
    scene.settle()
    panel.store.setText(store.name)
    dock.workflow.hide_evidence()
    scene.viewer.reset_view()
    dock.similar.companion.model.reset_view()
    scene.settle()
    picture = scene.viewer.screenshot(canvas_only=False, flash=False)
    height, width = picture.shape[:2]
    Image.fromarray(picture[round(TOP * height) :, round(LEFT * width) :]).save(target)


if __name__ == "__main__":
    main()
