"""Whether a T3D run uses the text: restoration error on held-out scans with the own report and with another one's.

Run from the repository root: `python -m benchmarks.t3d_text RUN [RUN ...] [--split validation] [--scans N]`. Every run
restores the same corrupted sub-volumes of the scans of a split twice. "gap" is the error with the wrong report less
that with the own one: above 0, the report helps. Intervals are percentiles over resampled scans. Of a text-free twin
the gap is 0. "told" is how far apart the text encoder tells the two reports, as a share of their length: at 0 all are
one to it. Where a run compares scans, "found" is the share of sub-volumes whose other one came first of "pool".
Prints a table and writes benchmarks/results/t3d_text.json.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from colipri_core.io.atomic import write_json
from colipri_training.distributed import best_device
from colipri_training.evaluation.bootstrap import mean_of_cases
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.run import Run
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork
from colipri_training.t3d.validation import T3DValidation

RESULTS = Path(__file__).parent / "results" / "t3d_text.json"


def measure(folder: Path, *, split: str, scans: int | None) -> dict[str, Any]:
    """Measure a run.

    Args:
        folder: Of a T3D run with a checkpoint.
        split: Which scans of its data sets.
        scans: Most scans; None for as many as the run itself validates on.

    Raises:
        ValueError: If it is no T3D run, or has no scans to measure on.
    """
    run = Run.begun(folder)
    config, network = run.config, run.finished
    if not isinstance(config, T3DConfig) or not isinstance(network, T3DNetwork):
        msg = f"Expected a run of T3D in {folder}, got the recipe {config.name}."
        raise ValueError(msg)
    if scans is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, validation_cases=scans))
    measured = T3DValidation(run.sources, config, run.tokenize, split=split).measure(network.to(best_device()))
    if measured is None:
        msg = f"Expected scans with a report in the split {split} of the data sets of {folder}, found none."
        raise ValueError(msg)
    rows: dict[str, Any] = {"run": folder.name, "recipe": config.name, "conditioning": config.conditioning}
    values = {"own": measured.own, "wrong": measured.wrong, "told": measured.told, "found": measured.found}
    if measured.own is not None and measured.wrong is not None:
        values["gap"] = measured.wrong - measured.own
    known = {name: value for name, value in values.items() if value is not None}
    count = len(next(iter(known.values())))
    resamples = resample_patients([str(number) for number in range(count)])
    figures = {name: mean_of_cases(value, resamples).to_json() for name, value in known.items()}
    return {**rows, "scans": count, "pool": measured.pool, **figures}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--scans", type=int)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = [measure(folder, split=options.split, scans=options.scans) for folder in options.runs]
    for row in rows:
        cells = [
            f"{name} {row[name]['value']:.5f} [{row[name]['low']:.5f}, {row[name]['high']:.5f}]"
            for name in ("own", "wrong", "gap", "told", "found")
            if name in row
        ]
        print(f"{row['run']:30s} {row['scans']:4d} scans  " + "  ".join(cells))
    write_json(options.output, {"split": options.split, "runs": rows})


if __name__ == "__main__":
    main()
