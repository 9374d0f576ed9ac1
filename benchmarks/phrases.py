"""How often a phrase alone outlines a lesion: names of findings asked of generated phantoms whose lesions are known.

`python benchmarks/phrases.py [--cases 20] [--first 2000000] [--json benchmarks/results/phrases.json]` generates
phantoms at 2 mm, opens each and asks `Phrase(name)` for every focal finding that is drawn in it, without a click.
"Found" is a Dice of at least 0.3 with all of the finding in that phantom; "part" is the same with the connected part
of it that the outline fits best, as a finding such as a calcification is often several. "Peak" is the distance of the
heat map's peak from the finding, in mm. Where the real data are there, "lung nodule" is asked of those scans too whose
nodule or tumour is outlined.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from interactive.objects import real_data
from interactive.objects import targets
from scipy import ndimage

import colipri_core as cc
from colipri_core.engine import Engine
from colipri_core.engine import Session
from colipri_core.errors import VolumeWarning
from colipri_core.geometry import VolumeGeometry
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import generate

FOUND = 0.3
GRID = PhantomGrid(shape=(192, 192, 192), spacing=(2.0, 2.0, 2.0))
Mask = npt.NDArray[np.bool_]


def overlap(first: Mask, second: Mask) -> float:
    """Dice of two masks, of which at least one holds something."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def questions(engine: Engine, cases: range) -> Iterator[tuple[Session, str, Mask]]:
    """A session, a finding and its mask, for every focal finding that is drawn in some phantoms."""
    for seed in cases:
        drawn = generate([seed], GRID)
        volume = cc.Volume(voxels=drawn.hu[0].numpy(), affine=GRID.affine, name=str(seed))
        lesions = drawn.lesions[0].numpy()
        with engine.open(volume) as session:
            for finding in np.flatnonzero(drawn.findings[0].numpy()):
                mask = (lesions >> finding) & 1 > 0
                if CT_RATE_CONCEPTS[finding].focal and mask.any():
                    yield session, CT_RATE_FINDINGS[finding], mask


def real_nodules(engine: Engine, data: Path) -> dict[str, dict[str, float]]:
    """What "lung nodule" outlines in real scans with one, without a click."""
    rows = {}
    for target in targets(data, groups={"nodules"}):
        with engine.open(target.volume) as session:
            row = ask(session, "lung nodule", target.mask)
        wanted = ("dice", "ml", "outlined_ml", "peak_mm", "seconds")
        rows[target.name] = {name: round(row[name], 3) for name in wanted}
    return rows


def ask(session: Session, name: str, lesion: Mask) -> dict[str, float]:
    """Ask one phrase, compare, and take it back; volumes in mL."""
    started = time.perf_counter()
    session.prompt(cc.Phrase(text=name))
    seconds = time.perf_counter() - started
    outlined = session.segmentation.labelmap > 0
    session.undo()
    voxel_ml = float(np.prod(session.volume.geometry.spacing)) / 1000
    parts, count = ndimage.label(lesion)
    touched = {int(part) for part in np.unique(parts[outlined]) if part}
    return {
        "dice": overlap(outlined, lesion),
        "dice_part": max((overlap(outlined, parts == part) for part in touched), default=0.0),
        "parts": float(count),
        "ml": float(lesion.sum() * voxel_ml),
        "outlined_ml": float(outlined.sum() * voxel_ml),
        "peak_mm": distance(session.evidence(name).peak_ras, lesion, session.volume.geometry),
        "seconds": seconds,
    }


def distance(ras: npt.ArrayLike, lesion: Mask, geometry: VolumeGeometry) -> float:
    """Distance of a place from a lesion, in mm."""
    places = geometry.index_to_world(np.argwhere(lesion))
    return float(np.linalg.norm(places - np.asarray(ras), axis=1).min())


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Shares and medians of some questions."""
    return {
        "questions": len(rows),
        "found": round(statistics.fmean(row["dice"] >= FOUND for row in rows), 4),
        "found_part": round(statistics.fmean(row["dice_part"] >= FOUND for row in rows), 4),
        "dice": round(statistics.median(row["dice"] for row in rows), 4),
        "peak_mm": round(statistics.median(row["peak_mm"] for row in rows), 1),
        "seconds": round(statistics.median(row["seconds"] for row in rows), 2),
    }


def measure(engine: Engine, cases: range) -> dict[str, Any]:
    """Ask all questions of some phantoms."""
    by_finding: dict[str, list[dict[str, float]]] = {}
    for session, name, lesion in questions(engine, cases):
        by_finding.setdefault(name, []).append(ask(session, name, lesion))
    everything = [row for rows in by_finding.values() for row in rows]
    return {
        "phantoms": [cases.start, cases.stop],
        "spacing_mm": GRID.spacing[0],
        "all": summary(everything),
        "by_finding": {name: summary(by_finding[name]) for name in CT_RATE_FINDINGS if name in by_finding},
    }


def main() -> int:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny", help="shipped bundle or bundle folder")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--first", type=int, default=2_000_000, help="seed of the first phantom")
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", VolumeWarning)
    cases, data = range(arguments.first, arguments.first + arguments.cases), real_data()
    with (
        tempfile.TemporaryDirectory() as cache,
        cc.open_engine(arguments.model, device="cpu", cache_dir=Path(cache)) as engine,
    ):
        result = measure(engine, cases)
        result["real"] = real_nodules(engine, data) if data.is_dir() else {}
    for name, row in [*result["by_finding"].items(), ("All", result["all"]), *result["real"].items()]:
        print(f"{name:36s}" + "".join(f"{key:>12s} {value:<7g}" for key, value in row.items()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
