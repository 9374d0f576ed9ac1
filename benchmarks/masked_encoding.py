"""Encoding a volume whose tokens are partly dropped: operations and time against the share that is dropped.

Run from the repository root: `python -m benchmarks.masked_encoding`. The encoder is that of a recipe (`--recipe`; the
published one on a GPU, a smaller one elsewhere). Operations are counted on shapes (`torch.utils.flop_counter`), time
is the median of forward and backward passes in bfloat16; on a processor it is the time that its threads computed,
which hardly depends on what else runs. Prints a table and writes benchmarks/results/masked_encoding.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from colipri_core.model.colipri import ColipriModel
from colipri_training.config import PretrainConfig
from colipri_training.cost import encoder_cost
from colipri_training.distributed import best_device
from colipri_training.recipes.registry import recipe

RESULTS = Path(__file__).parent / "results" / "masked_encoding.json"
DROPPED = (0.0, 0.25, 0.5, 0.75, 0.9)


def seconds(model: ColipriModel, images: torch.Tensor, keep: torch.Tensor, repeats: int) -> float:
    """Median seconds of a forward and a backward pass; the first one warms up and is left out."""
    taken = []
    clock = time.perf_counter if images.device.type == "cuda" else time.process_time
    for _ in range(repeats + 1):
        begun = clock()
        with torch.autocast(images.device.type, torch.bfloat16):
            tokens = model.encode_tokens(images, keep)
        tokens.float().square().mean().backward()
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(clock() - begun)
        model.zero_grad(set_to_none=True)
    return statistics.median(taken[1:])


def measure(config: PretrainConfig, repeats: int) -> list[dict[str, Any]]:
    """A row a share."""
    torch.manual_seed(0)
    device = best_device()
    image = dataclasses.replace(config.model.image, drop_path=0.0)
    model = ColipriModel(dataclasses.replace(config.model, image=image)).to(device).train()
    size = config.preprocessing.size
    images = torch.rand(1, 1, *size, device=device) * 2 - 1
    total = math.prod(edge // image.patch_size for edge in size)
    rows: list[dict[str, Any]] = []
    for dropped in DROPPED:
        tokens = total - round(dropped * total)
        keep = torch.randperm(total, device=device)[:tokens].sort().values[None]
        taken = seconds(model, images, keep, repeats)
        rows.append(
            {"dropped": dropped, "tokens": tokens, "gflop": encoder_cost(config, tokens) / 1e9, "seconds": taken}
        )
    for row in rows:
        row["cost_share"] = row["gflop"] / rows[0]["gflop"]
        row["time_share"] = row["seconds"] / rows[0]["seconds"]
    return rows


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{figures['recipe']} on {figures['device']}: forward and backward pass of one volume")
    print(f"{'dropped':>8s} {'tokens':>7s} {'GFLOP forward':>14s} {'share':>7s} {'seconds':>9s} {'share':>7s}")
    for row in figures["rows"]:
        print(
            f"{row['dropped']:8.0%} {row['tokens']:7d} {row['gflop']:14.2f} {row['cost_share']:7.1%} "
            f"{row['seconds']:9.4f} {row['time_share']:7.1%}"
        )


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="colipri-c" if torch.cuda.is_available() else "tiny-c")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = measure(recipe(options.recipe, 100), options.repeats)
    device = best_device()
    figures = {
        "recipe": options.recipe,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")
    show(figures)


if __name__ == "__main__":
    main()
