"""Frozen features on real CT with masks: a linear voxel probe, one volume left out at a time; a row an encoder.

Run from the repository root: `python -m benchmarks.voxel_probe --data FOLDER [--encoder LABEL=SOURCE]...`. A source is
what `colipri-train transfer --init` takes (a bundle, a pretraining run, `random:SOURCE`), or `intensity` for the voxels
themselves. Several sources of one label are seeds of one row. No encoder was trained on these volumes. Prints a table
of Dice and one of AUROC over the voxels, which takes no threshold, and writes benchmarks/results/voxel_probe.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import torch

from colipri_core.errors import VolumeWarning
from colipri_training.ablation import cell
from colipri_training.ablation import spread
from colipri_training.evaluation.probed_volumes import CASES
from colipri_training.evaluation.probed_volumes import STRUCTURES
from colipri_training.evaluation.probed_volumes import Intensity
from colipri_training.evaluation.probed_volumes import probed
from colipri_training.evaluation.voxel_probe import ProbedVolume
from colipri_training.evaluation.voxel_probe import VoxelProbeOptions
from colipri_training.evaluation.voxel_probe import leave_one_out
from colipri_training.evaluation.voxel_probe import mean_of
from colipri_training.transfer.sources import open_source

RESULTS = Path(__file__).parent / "results" / "voxel_probe.json"
DATA = Path(os.environ.get("COLIPRI_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
INTENSITY = "intensity"
DEFAULT = (INTENSITY, *("random=random:tiny" for _ in range(3)), "tiny=tiny")
SPACING_MM = (2.0, 2.0, 2.0)
"""Of encoders that name none (our choice)."""


def encoded(source: str, seed: int, data: Path) -> tuple[list[ProbedVolume], dict[str, Any]]:
    """All volumes that are there, encoded, and what is known of the encoder."""
    encoder: torch.nn.Module
    if source == INTENSITY:
        encoder, window, spacing, about = Intensity(), (-1000.0, 1000.0), SPACING_MM, {}
    else:
        opened = open_source(source, seed=seed)
        encoder, window, spacing = opened.encoder, opened.window_hu, opened.spacing_mm or SPACING_MM
        about = {"weights": opened.weights, "pretrained": opened.pretrained}
    there = [case for case in CASES if (data / case.image).exists()]
    volumes = [probed(data, case, encoder, spacing_mm=spacing, window_hu=window) for case in there]
    return volumes, {"source": Path(source).name, "spacing_mm": list(spacing), **about}


def measure(encoders: list[str], data: Path, voxels: int) -> list[dict[str, Any]]:
    """A row an encoder and structure."""
    rows: list[dict[str, Any]] = []
    seeds: dict[str, int] = {}
    for text in encoders:
        label, _, source = text.partition("=")
        seed = seeds[label] = seeds.get(label, -1) + 1
        volumes, about = encoded(source or label, seed, data)
        for structure in STRUCTURES:
            found = leave_one_out(volumes, structure, VoxelProbeOptions(voxels=voxels, seed=seed))
            rows.append({"label": label, "seed": seed, **about, "structure": structure, "volumes": found})
            print(f"{text}, seed {seed}: {structure} {mean_of(found, 'dice'):.3f}", flush=True)
    return rows


def of_seeds(rows: list[dict[str, Any]], figure: str) -> dict[str, dict[str, list[float]]]:
    """Mean of "dice" or "auroc" over the volumes left out: for each label and structure, a value a seed."""
    values: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        values.setdefault(row["label"], {}).setdefault(row["structure"], []).append(mean_of(row["volumes"], figure))
    return values


def table(rows: list[dict[str, Any]], figure: str) -> str:
    """Mean and spread over seeds, as Markdown."""
    counts = {row["structure"]: len(row["volumes"]) for row in rows}
    heads = [figure, *(f"{name} (n={count})" for name, count in counts.items())]
    lines = [" | ".join(heads), " | ".join(["---", *("---:" for _ in counts)])]
    lines += [" | ".join([label, *map(cell, values.values())]) for label, values in of_seeds(rows, figure).items()]
    return "\n".join(f"| {line} |" for line in lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--encoder", action="append", default=None)
    parser.add_argument("--voxels", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", VolumeWarning)  # thin slabs and clipped intensities are known of these scans
    rows = measure(options.encoder or list(DEFAULT), options.data, options.voxels)
    figures = {
        "machine": platform.machine(),
        "torch": torch.__version__,
        "voxels_of_a_class": options.voxels,
        **{
            figure: {
                label: {name: spread(found) for name, found in values.items()}
                for label, values in of_seeds(rows, figure).items()
            }
            for figure in ("dice", "auroc")
        },
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(rows, "dice"), table(rows, "auroc"), sep="\n\n")


if __name__ == "__main__":
    main()
