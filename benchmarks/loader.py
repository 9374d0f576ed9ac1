"""Random crops a second from prepared volumes, against reading .nii.gz, in one run and on one thread.

Run from the repository root: `python -m benchmarks.loader [CT.nii.gz ...]`; a phantom is drawn besides. Each volume is
prepared at 1 and at 2 mm, and read back in four ways: as prepared (blosc2, a crop at a time), as .nii.gz of the same
voxels (all of it, then cut), the source file (all of it, no more), and the source as a loader needs it if nothing was
prepared (read, resampled, cut). CPU seconds are what the process used, whatever else the machine did; files are in the
page cache in all cases. Then ways to store a volume are compared. Prints tables and writes
benchmarks/results/loader.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import blosc2
import nibabel as nib
import numpy as np
import torch

from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.data.loader import LoaderConfig
from colipri_training.data.loader import VolumeLoader
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.prepare import PrepareOptions
from colipri_training.data.prepare import prepare
from colipri_training.data.prepare_entry import prepare_volume
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.prepared import Storage
from colipri_training.data.prepared import encode
from colipri_training.data.prepared import read_crop
from colipri_training.data.sources import read_source

RESULTS = Path(__file__).parent / "results" / "loader.json"
STORAGES = (
    *(Storage(codec=codec, level=level) for codec, level in (("LZ4", 1), ("LZ4", 5), ("LZ4", 9), ("BLOSCLZ", 5))),
    *(Storage(codec=codec, level=level) for codec, level in (("LZ4HC", 5), ("ZSTD", 1), ("ZSTD", 5))),
    *(Storage(codec=codec, order="BITSHUFFLE") for codec in ("LZ4", "LZ4HC", "ZSTD")),
    *(Storage(chunk=chunk, block=block) for chunk, block in ((32, 32), (64, 16), (64, 64), (96, 32), (128, 32))),
)


def cpu_and_wall(work: Callable[[int], object], count: int) -> dict[str, float]:
    """Median CPU and wall seconds of `work(0..count)`; the first call warms up and is left out."""
    cpu, wall = [], []
    for number in range(count + 1):
        start = time.process_time(), time.perf_counter()
        work(number)
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return {"cpu_s": float(np.median(cpu[1:])), "wall_s": float(np.median(wall[1:])), "count": count}


def starts(shape: tuple[int, ...], size: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
    """Random first voxels of crops inside a volume, where it is large enough."""
    rng = np.random.default_rng(0)
    highest = np.maximum(np.asarray(shape) - size, 0)
    return [tuple(int(value) for value in rng.integers(0, highest + 1)) for _ in range(count)]


def cut(hu: np.ndarray, start: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """A crop of an array in memory, in C order."""
    return np.ascontiguousarray(hu[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))])


def compare(prepared: PreparedVolumes, volume: PreparedVolume, source: Entry, options: argparse.Namespace) -> dict:
    """Seconds a crop takes in the three ways."""
    size = tuple(min(options.size, n) for n in volume.record.shape)
    places = starts(volume.record.shape, size, options.count + 1)
    whole = prepared.crop(volume, (0, 0, 0), volume.record.shape)
    gzipped = prepared.folder / "same.nii.gz"
    affine = np.reshape(volume.record.affine, (4, 4))
    nib.save(nib.Nifti1Image(whole, affine), gzipped)
    spec = PreprocessSpec(spacing_mm=prepared.spacing_mm)

    def from_gzip(number: int) -> np.ndarray:
        return cut(np.asarray(nib.load(gzipped).dataobj), places[number], size)

    def whole_source(_: int) -> np.ndarray:
        return np.asarray(nib.load(source.image).dataobj)

    def from_source(number: int) -> np.ndarray:
        return cut(prepare_volume(read_source(source), spec)[0], places[number], size)

    assert np.array_equal(from_gzip(0), prepared.crop(volume, places[0], size))
    few = max(2, options.count // 8)
    return {
        "volume": source.image.name,
        "spacing_mm": prepared.spacing_mm,
        "shape": volume.record.shape,
        "crop": size,
        "prepared_mb": (prepared.folder / volume.file).stat().st_size / 1e6,
        "gzip_mb": gzipped.stat().st_size / 1e6,
        "prepared": cpu_and_wall(lambda number: prepared.crop(volume, places[number], size), options.count),
        "gzip_same_voxels": cpu_and_wall(from_gzip, few),
        "source_read_alone": cpu_and_wall(whole_source, few),
        "source_resampled": cpu_and_wall(from_source, few),
    }


def variants(prepared: PreparedVolumes, volume: PreparedVolume, options: argparse.Namespace) -> list[dict]:
    """Size and seconds a crop of each way to store a volume."""
    size = tuple(min(options.size, n) for n in volume.record.shape)
    places = starts(volume.record.shape, size, options.count + 1)
    whole = prepared.crop(volume, (0, 0, 0), volume.record.shape)
    rows = []
    for storage in STORAGES:
        path = prepared.folder / "variant.b2nd"
        begun = time.process_time()
        path.write_bytes(encode(whole, volume.record, storage))
        spent = time.process_time() - begun
        times = cpu_and_wall(lambda number: read_crop(path, places[number], size, fill=0), options.count)  # noqa: B023
        label = f"{storage.codec}-{storage.level} {storage.order.lower()} {storage.chunk}/{storage.block}"
        rows.append({"storage": label, "mb": path.stat().st_size / 1e6, "encode_cpu_s": spent, **times})
    return rows


def loader_rate(prepared: PreparedVolumes, options: argparse.Namespace) -> dict[str, float]:
    """Seconds a varied crop of the whole loader takes in one process: read, turned at times, normalised."""
    size = (options.size,) * 3
    spec = PreprocessSpec(spacing_mm=prepared.spacing_mm, size=size)
    loader = VolumeLoader([prepared], spec, LoaderConfig(batch_size=1, image_only_share=1.0, workers=0))
    return cpu_and_wall(loader.batch, options.count)


def phantom(folder: Path) -> Path:
    """Write a phantom as a scanner would deliver it: 1 mm in plane, 2 mm slices."""
    from colipri_training.phantoms import PhantomGrid
    from colipri_training.phantoms import generate

    grid = PhantomGrid(shape=(352, 352, 160), spacing=(1.0, 1.0, 2.0))
    hu = generate([7], grid).hu[0].round().numpy().astype(np.int16)
    path = folder / "phantom.nii.gz"
    nib.save(nib.Nifti1Image(hu, grid.affine), path)
    return path


def measure(folder: Path, options: argparse.Namespace) -> dict:
    """Prepare the volumes in a folder and measure everything."""
    images = [*options.images, phantom(folder)]
    entries = tuple(
        Entry(id=f"ct{number}", image=path, patient=str(number), split="train") for number, path in enumerate(images)
    )
    sources = {entry.id: entry for entry in entries}
    comparison = []
    for spacing in (1.0, 2.0):
        out = folder / f"{spacing}mm"
        prepare(Manifest(entries=entries), out, PrepareOptions(spec=PreprocessSpec(spacing_mm=(spacing,) * 3)))
        prepared = PreparedVolumes(out)
        comparison += [compare(prepared, volume, sources[volume.id], options) for volume in prepared.volumes]
    return {
        "comparison": comparison,
        "storage": variants(prepared, prepared.volumes[0], options),
        "loader": loader_rate(prepared, options),
    }


def show(figures: dict) -> None:
    """Print the tables."""
    for row in figures["comparison"]:
        print(
            f"{row['volume']} at {row['spacing_mm'][0]} mm {row['shape']}, crops of {row['crop']}: crops per CPU second"
        )
        base = row["prepared"]["cpu_s"]
        for name in ("prepared", "gzip_same_voxels", "source_read_alone", "source_resampled"):
            print(
                f"  {name:18s} {1 / row[name]['cpu_s']:8.2f}   prepared is {row[name]['cpu_s'] / base:6.1f} x as fast"
            )
    print(f"{'codec-level order chunk/block':34s} {'MB':>7s} {'crops/CPU s':>12s} {'encode s':>9s}")
    for row in figures["storage"]:
        print(f"{row['storage']:34s} {row['mb']:7.2f} {1 / row['cpu_s']:12.2f} {row['encode_cpu_s']:9.2f}")
    print(f"loader, varied crops per CPU second: {1 / figures['loader']['cpu_s']:.2f}")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "images", nargs="*", type=Path, help="CT volumes, besides a phantom; ways to store are compared on the first"
    )
    parser.add_argument("--size", type=int, default=160, help="edge of a crop in voxels")
    parser.add_argument("--count", type=int, default=24, help="crops to measure")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    blosc2.set_nthreads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options)
    setting = {"machine": platform.processor() or platform.machine(), "blosc2": blosc2.__version__, "threads": 1}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"setting": setting} | figures, indent=1) + "\n")
    show(figures)


if __name__ == "__main__":
    main()
