"""How long an engine takes on one CT: opening, the first question, the next ones, maps, outlines, reopening.

`python benchmarks/engine.py CT [--model tiny] [--json engine.json]` prints a table and writes JSON. Seconds are wall
time in one process with an empty cache of encoded volumes; "next phrase" is the median of ten phrases never asked
before. Importing torch is part of "open".
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.io import read_volume

PLACES = ("left upper lobe", "right lower lobe", "middle lobe", "lingula", "left hilum")
THINGS = ("a small calcified granuloma", "a cavity with thick walls")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of a call, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(ct: Path, model: str, cache: Path) -> dict[str, Any]:
    """Time every step.

    Args:
        ct: The volume.
        model: Shipped name, folder or hub id.
        cache: Empty folder for encoded features.
    """
    seconds: dict[str, float] = {}
    seconds["read"], volume = timed(lambda: read_volume(ct))
    seconds["open"], engine = timed(lambda: open_engine(model, cache_dir=cache))
    phrases = [f"{thing} in the {place}" for place in PLACES for thing in THINGS]
    with engine:
        with engine.open(volume) as session:
            seconds["first phrase"], _ = timed(lambda: session.classify(["a nodule in the right upper lobe"]))
            seconds["next phrase"] = statistics.median(timed(lambda p=p: session.classify([p]))[0] for p in phrases)
            seconds["all 18 findings"], findings = timed(session.classify)
            seconds["evidence map"], _ = timed(lambda: session.evidence("pleural effusion"))
            seconds["next evidence map"], _ = timed(lambda: session.evidence("a small granuloma"))
            if engine.capabilities.structures:
                seconds["structures"], _ = timed(session.segment)
        seconds["reopened"], _ = timed(lambda: reopened(engine, ct))
    return {
        "case": volume.name,
        "shape": list(volume.shape),
        "model": findings.provenance.model.name,
        "device": findings.provenance.device,
        "precision": findings.provenance.precision,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "seconds": {step: round(value, 4) for step, value in seconds.items()},
        "next_phrase_share_of_first": round(seconds["next phrase"] / seconds["first phrase"], 4),
        "peak_memory_gb": peak_memory_gb(),
    }


def reopened(engine: Engine, ct: Path) -> None:
    """Read and open the same CT again and ask something already known."""
    with engine.open(read_volume(ct)) as session:
        timings = session.classify(["a nodule in the right upper lobe"]).provenance.timings
    if "encode (cached)" not in timings:
        msg = f"Expected the encoded features from the cache, got the timings {timings}."
        raise RuntimeError(msg)


def peak_memory_gb() -> float | None:
    """Largest resident memory of this process so far; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def main() -> int:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        result = measure(arguments.ct, arguments.model, Path(cache))
    for step, value in result["seconds"].items():
        print(f"{step:20s}{value:9.3f} s")
    print(f"{'next / first':20s}{result['next_phrase_share_of_first']:9.2%}")
    print(f"{'peak memory':20s}{result['peak_memory_gb']} GB")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
