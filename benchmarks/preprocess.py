"""Preprocessing to the model grid: ours against the official transform, on one generated 512 x 512 x 300 scan.

Run from the repository root: `python -m benchmarks.preprocess`. Each way runs in a process of its own, so that its peak
memory can be read; times are the best and the median of several runs, from the volume in memory (in the layout each way
likes best) to the model's array. Prints a table and writes benchmarks/results/preprocess.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from colipri_core.preprocess import map_to_source
from colipri_core.preprocess import prepare
from colipri_core.preprocess import token_geometry
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.volume import Volume

SHAPE = (512, 512, 300)
SPACING_MM = (0.703125, 0.703125, 1.0)
OBLIQUE_DEGREES = 12.0
RESULTS = Path(__file__).parent / "results" / "preprocess.json"
WAYS = ("ours int16", "ours int16 truncating", "official int16", "ours float32", "official float32")


def scan(dtype: str) -> Volume:
    """A smooth, textured, slightly oblique LPS volume in HU, in memory as readers return it (k slowest)."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1000, 600, (13, 17, 17))
    planes = [np.linspace(0, size - 1.001, n) for size, n in zip(coarse.shape, reversed(SHAPE), strict=True)]
    texture = rng.normal(0, 25, SHAPE[:2][::-1])
    voxels = np.empty(SHAPE[::-1], dtype=dtype)
    rows, columns = (positions.astype(int) for positions in planes[1:])
    for k, position in enumerate(planes[0].astype(int)):
        voxels[k] = coarse[position][np.ix_(rows, columns)] + texture
    angle = np.deg2rad(OBLIQUE_DEGREES)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-1, -1, 1]) * SPACING_MM
    affine[:3, 3] = (180.0, 190.0, -150.0)
    return Volume(voxels=voxels.transpose(2, 1, 0), affine=affine)


def way(name: str) -> tuple[Volume, Callable[[], Any]]:
    """The volume and the call to be timed; the call returns the array."""
    who, dtype, *options = name.split()
    volume = scan(dtype)
    if who == "ours":
        spec = PreprocessSpec(integer_truncation=bool(options))
        return volume, lambda: prepare(volume, spec).array
    from tests.parity.official_transform import official_image
    from tests.parity.official_transform import official_transform

    transform = official_transform()
    image = official_image(volume.voxels, volume.affine)

    def call() -> Any:
        return transform(image).data[0].numpy()

    return volume, call


def measure(name: str, repeats: int, folder: Path) -> dict[str, float]:
    """Time one way in this process and save its array."""
    volume, call = way(name)
    _warm_up(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        array = call()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(folder / f"{name}.npy", array)
    return {
        "best_s": min(seconds),
        "median_s": statistics.median(seconds),
        "extra_peak_mib": (peak - before) / 1024,
        "scan_mib": volume.voxels.nbytes / 2**20,
        "result_mib": array.nbytes / 2**20,
    }


def _warm_up(name: str) -> None:
    """Load every library and code path on a small volume, so that none counts as memory of the run."""
    small = Volume(voxels=np.zeros((64, 64, 32), dtype=name.split()[1]), affine=np.diag([1.0, 1, 2, 1]))
    if name.startswith("ours"):
        prepare(small, PreprocessSpec(size=(16, 16, 16)))
        return
    from tests.parity.official_transform import official_transform
    from tests.parity.official_transform import run_official

    run_official(official_transform(input_size=16), small.voxels, small.affine)


def measure_way_back(repeats: int) -> dict[str, float]:
    """Seconds from token maps and labelmaps to the scan's own grid."""
    volume = scan("int16")
    grid = prepare(volume, PreprocessSpec()).geometry
    rng = np.random.default_rng(0)
    results = {}
    for patch, order in ((16, 1), (2, 1), (2, 0)):
        tokens = token_geometry(grid, patch)
        values = rng.random(tokens.shape).astype(np.float32)
        values = values if order else (values * 9).astype(np.uint8)
        best = np.inf
        for _ in range(repeats):
            start = time.perf_counter()
            map_to_source(values, tokens, volume.geometry, order=order)
            best = min(best, time.perf_counter() - start)
        results[f"{tokens.shape[0]}^3 {'map' if order else 'labels'} to scan grid"] = best
    return results


def _child(name: str, repeats: int, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.preprocess", "--way", name]
    command += ["--repeats", str(repeats), "--folder", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run every way, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(options.way, options.repeats, Path(options.folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: _child(name, options.repeats, folder) for name in WAYS}
        arrays = {name: np.load(Path(folder) / f"{name}.npy") for name in WAYS}
    report = {
        "shape": SHAPE,
        "spacing_mm": SPACING_MM,
        "oblique_degrees": OBLIQUE_DEGREES,
        "repeats": options.repeats,
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "ways": rows,
        "speedup_int16": rows["official int16"]["median_s"] / rows["ours int16"]["median_s"],
        "speedup_float32": rows["official float32"]["median_s"] / rows["ours float32"]["median_s"],
        "max_difference_float32": _difference(arrays, "ours float32", "official float32"),
        "max_difference_int16_truncating": _difference(arrays, "ours int16 truncating", "official int16"),
        "way_back_s": measure_way_back(options.repeats),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    _print(report)


def _difference(arrays: dict[str, Any], ours: str, official: str) -> float:
    return float(np.abs(arrays[ours] - arrays[official]).max())


def _print(report: dict[str, Any]) -> None:
    print(f"{'way':<26}{'best s':>8}{'median s':>10}{'extra peak MiB':>16}{'scan MiB':>10}{'result MiB':>12}")
    for name, row in report["ways"].items():
        print(
            f"{name:<26}{row['best_s']:>8.3f}{row['median_s']:>10.3f}{row['extra_peak_mib']:>16.0f}"
            f"{row['scan_mib']:>10.0f}{row['result_mib']:>12.0f}"
        )
    print(f"speed-up: int16 {report['speedup_int16']:.1f}, float32 {report['speedup_float32']:.1f}")
    print(f"largest difference, float32: {report['max_difference_float32']:.2g} (of a range of 2)")
    print(f"largest difference, int16 truncating: {report['max_difference_int16_truncating']:.2g}")
    for name, seconds in report["way_back_s"].items():
        print(f"{name:<30}{seconds:>8.3f} s")


if __name__ == "__main__":
    main()
