"""Draw both pretext tasks of a T3D run on a held-out scan: for docs/explanation/t3d.md.

    python scripts/t3d_picture.py RUN OUTPUT [--scans 2] [--note "200 steps on 24 phantoms"]

Writes OUTPUT/t3d-restoration.png (original, corrupted, restored with the own report, restored with another one, and
where the two restorations differ; of up to 32 scans those whose restorations differ most) and, where the run compares
scans, OUTPUT/t3d-contrast.png (two sub-volumes of each scan, and how alike each is to the other sub-volume of every
scan, all told the same report).
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from colipri_training.run import Run
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork
from colipri_training.t3d.validation import T3DValidation

LUNG = (-1.0, 0.4)
_MOST_RESTORED = 32
INK, DPI = "#202020", 110


def show(axes: Axes, slice_XY: np.ndarray, title: str = "", **looks: object) -> None:
    """An axial slice as radiologists see it: the patient's right on the left, the front above."""
    settings = {"cmap": "gray", "vmin": LUNG[0], "vmax": LUNG[1], **looks}
    axes.imshow(slice_XY.T[::-1, ::-1], interpolation="nearest", **settings)
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])


def middle(volume_XYZ: torch.Tensor) -> np.ndarray:
    """Its middle axial slice."""
    return volume_XYZ[..., volume_XYZ.shape[-1] // 2].float().numpy()


def restoration(
    network: T3DNetwork, batch: T3DBatch, wrong: tuple[torch.Tensor, torch.Tensor], scans: int
) -> plt.Figure:
    """One row a scan; those are drawn that the report changes most, to the better or the worse."""
    assert batch.corrupted is not None
    count = len(batch.images)
    own, other = (network.restore(batch, network.states(text, count)) for text in (batch.reports, wrong))
    figure, grid = plt.subplots(scans, 5, figsize=(11, 2.8 * scans), squeeze=False)
    names = ("original", "corrupted", "restored, its own report", "restored, another report", "difference of the two")
    changed = (own - other).abs().mean(dim=(1, 2, 3))
    for row, axes in zip(changed.argsort(descending=True).tolist(), grid, strict=False):
        target = batch.images[row, 0]
        columns = (target, batch.corrupted[row], own[row], other[row])
        for place, volume in enumerate(columns):
            error = "" if place < 2 else f"\nmean error {float((volume - target).abs().mean()):.4f}"
            show(axes[place], middle(volume), names[place] + error)
        gap = middle(own[row] - other[row])
        limit = max(float(np.abs(gap).max()), 1e-6)
        show(axes[4], gap, f"{names[4]}\nup to {limit:.4f}", cmap="coolwarm", vmin=-limit, vmax=limit)
    return figure


def contrast(network: T3DNetwork, batch: T3DBatch, scans: int) -> plt.Figure:
    """Two sub-volumes of each scan, and the matrix of likeness."""
    match = network(batch).match
    assert match is not None
    figure, grid = plt.subplots(2, scans + 2, figsize=(2.3 * (scans + 2), 5), squeeze=False)
    for scan in range(scans):
        for view in range(2):
            show(grid[view][scan], middle(batch.images[scan, view]), f"scan {scan + 1}, sub-volume {view + 1}")
    for row in grid:
        for axes in row[scans:]:
            axes.remove()
    axes = figure.add_subplot(1, 2, 2) if scans < 2 else figure.add_subplot(grid[0][0].get_gridspec()[:, scans:])
    image = axes.imshow(match[:, 0].float().numpy(), cmap="viridis", vmin=-1, vmax=1)
    axes.set_xticks(range(len(match)), range(1, len(match) + 1))
    axes.set_yticks(range(len(match)), range(1, len(match) + 1))
    axes.set_xlabel("sub-volume 2 of scan", color=INK)
    axes.set_ylabel("sub-volume 1 of scan, and whose report all are told", color=INK)
    axes.set_title("cosine", fontsize=9, color=INK)
    figure.colorbar(image, ax=axes, fraction=0.046)
    return figure


@torch.no_grad()
def main() -> None:
    """Read a run, draw, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scans", type=int, default=2)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    run = Run.begun(options.run)
    config, network = run.config, run.finished
    if not isinstance(config, T3DConfig) or not isinstance(network, T3DNetwork):
        parser.error(f"{options.run} holds no run of T3D")
    validation = T3DValidation(run.sources, config, run.tokenize)
    options.output.mkdir(parents=True, exist_ok=True)
    figures = {}
    if config.loss.restoration:
        batch, wrong = next(validation.batches(min(_MOST_RESTORED, validation.count)))
        figures["t3d-restoration.png"] = restoration(network, batch, wrong, options.scans)
    if config.loss.contrast:
        batch, _ = next(validation.batches(max(4, options.scans)))
        figures["t3d-contrast.png"] = contrast(network, batch, options.scans)
    for name, figure in figures.items():
        note = f"{config.name}, held-out scans. {options.note}"
        figure.text(0.01, 0.005, textwrap.shorten(note, 160), fontsize=8, color=INK)
        figure.tight_layout(rect=(0, 0.04, 1, 1))
        figure.savefig(options.output / name, dpi=DPI)


if __name__ == "__main__":
    main()
