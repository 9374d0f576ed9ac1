"""How long `colipri --help` takes, against an interpreter that only imports typer and numpy.

Prints a table and writes JSON: `python benchmarks/startup.py [--json startup.json] [--runs 15]`. The runs of the two
commands alternate, and medians are compared, so that a busy machine slows both alike. The budget is a ratio of 2.5.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

BUDGET = 2.5

COMMANDS = {
    "import typer, numpy": "import typer, numpy",
    "colipri --help": "import sys; from colipri_core.cli.main import main; sys.exit(main(['--help']))",
}


def seconds(code: str) -> float:
    """Wall time of a fresh interpreter that runs a line of code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def measure(runs: int) -> dict[str, object]:
    """Time both commands in turn and compare their medians.

    Args:
        runs: Runs of each, after one that warms the disk cache.
    """
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(runs + 1):
        for name, code in COMMANDS.items():
            taken = seconds(code)
            if run > 0:
                times[name].append(taken)
    medians = {name: round(statistics.median(values), 4) for name, values in times.items()}
    base, command = medians.values()
    ratio = round(command / base, 3)
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "runs": runs,
        "median_seconds": medians,
        "ratio": ratio,
        "budget": BUDGET,
        "ok": ratio <= BUDGET,
    }


def main() -> int:
    """Measure, print a table and write JSON; return 1 over the budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    result = measure(arguments.runs)
    for name, median in result["median_seconds"].items():  # type: ignore[attr-defined]
        print(f"{name:24s}{median:8.3f} s")
    print(f"{'ratio (budget ' + str(BUDGET) + ')':24s}{result['ratio']:8.2f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
