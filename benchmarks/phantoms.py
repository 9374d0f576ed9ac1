"""How long one phantom takes: drawing the patient, painting and scanning it, on one thread of the CPU.

Run from the repository root: `python -m benchmarks.phantoms`. CPU time is what the process used, whatever else the
machine did; wall time is what one waited. Prints a table and writes benchmarks/results/phantoms.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms.generator import describe
from colipri_training.phantoms.generator import draw_phantom
from colipri_training.phantoms.generator import render

RESULTS = Path(__file__).parent / "results" / "phantoms.json"
GRIDS = {
    "96^3 at 4 mm": PhantomGrid(),
    "192^3 at 2 mm": PhantomGrid(shape=(192, 192, 192), spacing=(2.0, 2.0, 2.0)),
}


def measure(grid: PhantomGrid, seeds: range) -> dict[str, float]:
    """Median CPU and wall seconds a phantom, drawing and report included; the first one warms up and is left out."""
    cpu, wall = [], []
    for seed in seeds:
        start = time.process_time(), time.perf_counter()
        phantom = draw_phantom(seed)
        render(phantom, grid, torch.device("cpu"))
        describe(phantom, grid)
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return {"cpu_s": statistics.median(cpu[1:]), "wall_s": statistics.median(wall[1:]), "phantoms": len(cpu) - 1}


def main() -> None:
    """Measure every grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    count = parser.parse_args().count
    torch.set_num_threads(1)
    figures = {name: measure(grid, range(count + 1)) for name, grid in GRIDS.items()}
    setting = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": 1}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"setting": setting, "seconds_per_phantom": figures}, indent=1) + "\n")
    print(f"{'grid':16s} {'CPU s':>8s} {'wall s':>8s}")
    for name, row in figures.items():
        print(f"{name:16s} {row['cpu_s']:8.3f} {row['wall_s']:8.3f}")


if __name__ == "__main__":
    main()
