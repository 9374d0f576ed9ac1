"""Draw the picture of the report panel beside the CT: a draft, its first affirmed sentence clicked.

Usage: report_picture.py REPORT.png [CT] [--model MODEL]
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from PIL import Image

from napari_colipri.demo import DemoOptions
from napari_colipri.demo import analysed
from napari_colipri.display import has_display
from napari_colipri.display import virtual_display

LEFT, TOP, BOTTOM = 0.26, 0.08, 1.0
"""Shares of the window that are cut away on the left and bounded above and below."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("ct", type=Path, nargs="?")
    parser.add_argument("--model", default="tiny")
    arguments = parser.parse_args()
    with contextlib.nullcontext() if has_display() else virtual_display():
        draw(arguments.target, arguments.ct, DemoOptions(model=arguments.model))


def draw(target: Path, ct: Path | None, options: DemoOptions) -> None:
    """Open the viewer, click the first affirmed sentence, and write what the right of the window shows."""
    with analysed(ct, options) as scene:
        for section in (scene.dock.findings_section, scene.dock.structures_section):
            section.header.setChecked(False)
        scene.viewer.reset_view()
        scene.settle()
        scene.dock.workflow.hide_evidence()
        panel = scene.dock.report.panel
        affirmed = [number for number, row in enumerate(panel.model.rows) if ", present," in "".join(row.details)]
        index = panel.model.index(affirmed[0])
        panel.list.setCurrentIndex(index)
        panel.list.clicked.emit(index)
        scene.settle()
        picture = scene.viewer.screenshot(canvas_only=False, flash=False)
    height, width = picture.shape[:2]
    cut = picture[round(TOP * height) : round(BOTTOM * height), round(LEFT * width) :]
    Image.fromarray(cut).save(target)


if __name__ == "__main__":
    main()
