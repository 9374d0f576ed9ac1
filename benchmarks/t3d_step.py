"""A T3D training step on scans of 128, 256 and 512 slices: its time and memory must not grow with the scan.

Run from the repository root: `python -m benchmarks.t3d_step [--recipe t3d_tiny] [--slices 128 256 512]`. For each
length a few scans of made-up texture are stored as `prepare` would store them, and a process of its own reads
sub-volumes from them and trains: reading, corruption, forward and backward pass and the optimiser are all in the time.
Memory is the largest the process ever had (of the GPU where there is one). Prints a table and writes
benchmarks/results/t3d_step.json; "flat" says whether the largest median differs from the smallest by less than 10 %.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from colipri_core.io.atomic import write_json
from colipri_core.model.tokenizer import load_tokenizer
from colipri_core.model.tokenizer import tokenize
from colipri_training.data.prepared import FORMAT
from colipri_training.data.prepared import HU_RANGE
from colipri_training.data.prepared import INDEX
from colipri_training.data.prepared import SETTINGS
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.prepared import Record
from colipri_training.data.prepared import Storage
from colipri_training.data.prepared import encode
from colipri_training.data.prepared import hash_voxels
from colipri_training.data.prepared import place_of
from colipri_training.data.text import train_tokenizer
from colipri_training.distributed import world
from colipri_training.journal import memory_gib
from colipri_training.recipes.registry import recipe
from colipri_training.t3d.batches import T3DBatches
from colipri_training.t3d.batches import t3d_loader
from colipri_training.t3d.config import T3DConfig
from colipri_training.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "t3d_step.json"
REPORT = (
    "Findings: A nodule of {size} mm is seen in the left lower lobe. No pleural effusion.\nImpression: Lung nodule."
)
FLAT = 0.10


def write_scans(folder: Path, config: T3DConfig, shape: tuple[int, int, int]) -> None:
    """Store as many scans as a batch takes: coarse texture and fine noise, all of it body."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(-900, 300, size=[-(-size // 16) for size in shape])
    texture = np.kron(coarse, np.ones((16, 16, 16)))[tuple(slice(0, size) for size in shape)]
    hu = (texture + rng.normal(0, 30, size=shape)).astype(np.int16)
    spec = config.preprocessing
    settings = {"format": FORMAT, "orientation": spec.orientation, "spacing_mm": list(spec.spacing_mm)}
    write_json(folder / SETTINGS, {**settings, "hu_range": list(HU_RANGE)})
    record = Record(
        shape=shape,
        affine=tuple(np.diag([*spec.spacing_mm, 1.0]).ravel().tolist()),
        body=tuple((0, size) for size in shape),
        minimum_hu=int(hu.min()),
        source_sha256="",
        voxels_sha256=hash_voxels(hu),
        fingerprint=(),
    )
    frame, lines = encode(hu, record, Storage()), []
    for number in range(config.data.batch_size):
        name = f"scan{number}"
        path = folder / place_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frame)
        volume = PreparedVolume(
            id=name,
            patient=name,
            split="train",
            report=REPORT.format(size=number + 4),
            labels={},
            file=place_of(name),
            record=record,
        )
        lines.append(json.dumps(volume, default=vars))
    (folder / INDEX).write_text("\n".join(lines) + "\n", encoding="ascii")


def measure(folder: Path, config: T3DConfig, steps: int, answer: Any) -> None:
    """Train on the scans of a folder; answers with seconds of each step after the first, and memory."""
    tokenizer = load_tokenizer(folder / "tokenizer")
    loader = t3d_loader((PreparedVolumes(folder),), config, world())
    batches = T3DBatches(loader, config, lambda texts, length: tokenize(tokenizer, texts, length))
    trainer = Trainer(config, batches, folder / "run")
    seconds, computed = [], []
    for step in range(steps + 1):
        start = time.perf_counter(), time.process_time()
        trainer._train_step(batches(step))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start[0])
        computed.append(time.process_time() - start[1])
    answer.put({"seconds": seconds[1:], "cpu_seconds": computed[1:], "memory_gib": peak_gib()})


def peak_gib() -> float:
    """Largest memory of this process: of the GPU, or resident, without what the process that started it had."""
    status = Path("/proc/self/status")
    if torch.cuda.is_available() or not status.is_file():
        return memory_gib()
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**20  # getrusage would count the parent's memory too: it is kept over fork and exec


def row(slices: int, options: argparse.Namespace) -> dict[str, float]:
    """Measure scans of so many slices, in a process of its own, so that its memory is its own."""
    settings = (f"data.batch_size={options.batch_size}", "compute.workers=0", *options.set)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        train_tokenizer([REPORT.format(size=size) for size in range(4, 20)], folder / "tokenizer")
        config = recipe(options.recipe, len(load_tokenizer(folder / "tokenizer"))).changed(settings)
        assert isinstance(config, T3DConfig), "a recipe of T3D"
        write_scans(folder, config, (options.plane, options.plane, slices))
        context = multiprocessing.get_context("spawn")
        answer = context.Queue()
        process = context.Process(target=measure, args=(folder, config, options.steps, answer))
        process.start()
        found = answer.get()
        process.join()
    return {
        "slices": slices,
        "seconds": statistics.median(found["seconds"]),
        "cpu_seconds": statistics.median(found["cpu_seconds"]),
        "memory_gib": found["memory_gib"],
    }


def spread(rows: list[dict[str, float]], name: str) -> float:
    """How much the largest exceeds the smallest, as a share of it."""
    values = [found[name] for found in rows]
    return max(values) / min(values) - 1


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="t3d_tiny")
    parser.add_argument("--slices", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--plane", type=int, default=256, help="voxels of a slice along each side")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="measured steps; the first one warms up")
    parser.add_argument("--set", action="append", default=[], help="set a field of the recipe otherwise")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = [row(slices, options) for slices in options.slices]
    for found in rows:
        print("{slices:5d} slices  {seconds:7.3f} s  {cpu_seconds:7.3f} CPU s  {memory_gib:6.3f} GiB".format(**found))
    spreads = {name: round(spread(rows, name), 4) for name in ("seconds", "cpu_seconds", "memory_gib")}
    timed = "seconds" if torch.cuda.is_available() else "cpu_seconds"  # other programs do not count on a processor
    document = {
        "recipe": options.recipe,
        "settings": options.set,
        "batch_size": options.batch_size,
        "plane": options.plane,
        "steps": options.steps,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": rows,
        "spread": spreads,
        "flat": {"time": spreads[timed] < FLAT, "memory": spreads["memory_gib"] < FLAT},
    }
    print(f"spread {spreads}, flat {document['flat']}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, document)


if __name__ == "__main__":
    main()
