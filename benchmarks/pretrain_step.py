"""Training steps of a recipe, the published CRM by default: volumes a second, memory, and utilisation of the device.

Run from the repository root:

    python -m benchmarks.pretrain_step                       one step on this processor, a few tokens of each volume
    python -m benchmarks.pretrain_step --batch-sizes 4 8 16 --modes eager compiled --tokens 13824 --steps 8 \
        --data PREPARED                                      on a GPU, with volumes read from prepared files

Utilisation is that of model operations (`colipri_training.cost`: a forward pass and two for the backward one; what
checkpointing or parts compute again does not count) over the peak of dense bfloat16 products, known for the GPUs in
`PEAKS`; else it is left out. "cpu_seconds" is what all threads of this process computed, whatever else ran. Without
`--data` the volumes are random and nothing is read. Prints a table and writes benchmarks/results/pretrain_step.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from colipri_training.config import PretrainConfig
from colipri_training.cost import step_cost
from colipri_training.data.batch import Batch
from colipri_training.data.batch import Text
from colipri_training.data.loader import VolumeLoader
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.sentences import StatementPool
from colipri_training.data.text import train_tokenizer
from colipri_training.data.volume_batches import VolumeBatches
from colipri_training.data.volume_batches import loader_config
from colipri_training.distributed import best_device
from colipri_training.journal import memory_gib
from colipri_training.recipes.registry import recipe
from colipri_training.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "pretrain_step.json"
PEAKS = {"A100": 312e12, "H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "L40S": 362e12, "A40": 150e12}
"""Dense bfloat16 operations a second by a part of the device's name (makers' data sheets)."""


def config_of(options: argparse.Namespace, batch_size: int, *, compiled: bool) -> PretrainConfig:
    """The recipe with as many paired volumes, and as many without report if it reconstructs."""
    config = recipe(options.recipe, options.vocabulary).changed(options.set)
    unpaired = batch_size if config.data.unpaired else 0
    data = dataclasses.replace(
        config.data,
        batch_size=batch_size,
        unpaired=unpaired,
        tokens=options.tokens or config.data.tokens,
        sources=tuple(map(str, options.data)) or ("random",),  # so that sentences count by volume, as of data sets
    )
    micro = batch_size if options.micro_batch is None else options.micro_batch
    return dataclasses.replace(
        config,
        data=data,
        optimizer=dataclasses.replace(config.optimizer, steps=options.steps + options.warm_up),
        compute=dataclasses.replace(
            config.compute, micro_batch=micro, compile=compiled, tensorboard=False, workers=options.workers
        ),
        sentence_steps=0,
    )


class RandomBatches:
    """Volumes and texts of random values, the same in every step: what a step costs without any reading.

    Args:
        config: The run.
    """

    def __init__(self, config: PretrainConfig) -> None:
        data, size = config.data, config.data.volumes.crop or config.preprocessing.size
        generator = torch.Generator().manual_seed(0)
        grid = torch.tensor(size) // config.model.image.patch_size
        total = int(grid.prod())
        kept = torch.stack([torch.randperm(total, generator=generator) for _ in range(data.batch_size)])

        def texts(length: int, *shape: int) -> Text:
            ids = torch.randint(5, config.model.text.vocab_size, (*shape, length), generator=generator)
            return ids, torch.ones_like(ids)

        pairs = (data.batch_size, 2 * data.volumes.statements)
        self._batch = Batch(
            images=torch.rand(data.batch_size, 1, *size, generator=generator) * 2 - 1,
            keep=kept[:, : data.tokens].sort(dim=1).values,
            findings=torch.zeros(data.batch_size, 18, dtype=torch.int8),
            regions=torch.full((data.batch_size, 18, min(total, data.tokens)), -1, dtype=torch.int8),
            reports=texts(data.max_report_length, data.batch_size),
            affirming=None,
            denying=None,
            targets=texts(config.report.max_length, data.batch_size) if config.report and config.loss.report else None,
            unpaired=torch.rand(data.unpaired, 1, *size, generator=generator) * 2 - 1 if data.unpaired else None,
            statements=texts(data.max_sentence_length, *pairs) if config.loss.opposite else None,
            holds=torch.ones(pairs[0], pairs[1] // 2, dtype=torch.int8) if config.loss.opposite else None,
        )

    def __call__(self, step: int) -> Batch:
        """The batch, whatever the step."""
        del step
        return self._batch


def prepared_batches(config: PretrainConfig, folder: Path) -> VolumeBatches:
    """Batches read from prepared files, with a tokenizer trained on their reports."""
    from colipri_core.model.tokenizer import load_tokenizer
    from colipri_core.model.tokenizer import tokenize

    sources = [PreparedVolumes(Path(source)) for source in config.data.sources]
    volumes = [volume for source in sources for volume in source.volumes if volume.split == "train"]
    reports = [volume.report for volume in volumes if volume.report is not None]
    if not (folder / "vocab.txt").is_file():
        train_tokenizer(reports, folder)
    tokenizer = load_tokenizer(folder)
    spec = dataclasses.replace(config.preprocessing, size=config.data.volumes.crop or config.preprocessing.size)
    pool = StatementPool.from_reports(reports) if config.loss.opposite else None
    loader = VolumeLoader(sources, spec, loader_config(config))
    return VolumeBatches(loader, config, pool, lambda texts, length: tokenize(tokenizer, texts, length))


def measure(config: PretrainConfig, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds, memory and operations of the steps of one setting; the first ones warm up and are left out."""
    device = best_device()
    batches = prepared_batches(config, folder / "tokenizer") if options.data else RandomBatches(config)
    trainer = Trainer(config, batches, folder / "run")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, computed, waiting = [], [], []
    record: dict[str, float] = {}
    for step in range(options.warm_up + options.steps):
        begun, started = time.perf_counter(), time.process_time()
        batch = batches(step)
        read = time.perf_counter()
        record = trainer._train_step(batch)
        trainer.step += 1
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
        computed.append(time.process_time() - started)
        waiting.append(read - begun)
    median = statistics.median(seconds[options.warm_up :])
    cost, peak = step_cost(config), peak_of(device)
    volumes = config.data.batch_size + config.data.unpaired
    return {
        "batch_size": config.data.batch_size,
        "unpaired": config.data.unpaired,
        "tokens": config.data.tokens,
        "micro_batch": config.compute.micro_batch,
        "compiled": config.compute.compile,
        "parameters": sum(value.numel() for value in trainer.network.parameters()),
        "seconds": median,
        "cpu_seconds": statistics.median(computed[options.warm_up :]),
        "waiting_for_data_s": statistics.median(waiting[options.warm_up :]),
        "volumes_per_second": volumes / median,
        "peak_memory_gib": memory_gib(),
        "model_tflop": cost.training / 1e12,
        "tflop_per_second": cost.training / 1e12 / median,
        "utilisation": cost.training / median / peak if peak else None,
        "losses": {
            name: record[name] for name in ("contrastive", "opposite", "report", "reconstruction") if name in record
        },
    }


def peak_of(device: torch.device) -> float | None:
    """Peak of dense bfloat16 products, operations a second, if the device is a known one."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if all(word in name for word in part.split())), None)


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{figures['recipe']} on {figures['device']}")
    print(
        f"{'batch':>9s} {'mode':>9s} {'s/step':>8s} {'volumes/s':>10s} {'GiB':>6s} {'TFLOP/s':>8s} {'utilisation':>12s}"
    )
    for row in figures["settings"]:
        mode = "compiled" if row["compiled"] else "eager"
        share = "unknown" if row["utilisation"] is None else f"{row['utilisation']:.1%}"
        print(
            f"{row['batch_size']:>4d} +{row['unpaired']:>3d} {mode:>9s} {row['seconds']:8.2f} "
            f"{row['volumes_per_second']:10.3f} {row['peak_memory_gib']:6.1f} {row['tflop_per_second']:8.2f} "
            f"{share:>12s}"
        )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="colipri-crm")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1], help="paired volumes of a step")
    parser.add_argument("--modes", nargs="+", choices=("eager", "compiled"), default=["eager"])
    parser.add_argument("--tokens", type=int, default=256, help="kept tokens of a paired volume; 0: as the recipe says")
    parser.add_argument("--micro-batch", type=int, help="volumes at once; all if omitted")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=0, help="steps before those that count")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="prepared folders; random volumes without")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=30522)
    parser.add_argument("--set", nargs="*", default=[], help="other fields of the config, such as bf16=false")
    parser.add_argument("--folder", type=Path, default=Path("out/pretrain_step"), help="for logs and the tokenizer")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measure every setting and write the results."""
    logging.disable(logging.INFO)
    options = parse(arguments)
    rows = []
    for mode in options.modes:
        for batch_size in options.batch_sizes:
            config = config_of(options, batch_size, compiled=mode == "compiled")
            rows.append(measure(config, options, options.folder))
    device = best_device()
    figures = {
        "recipe": options.recipe,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "read_from_files": bool(options.data),
        "settings": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")
    show(figures)


if __name__ == "__main__":
    main()
