"""Interactive segmentation of real objects by simulated clicks: the shipped model beside classical seeded methods.

`python benchmarks/clicks.py [DATA] [--model clicks] [--json FILE]` prints a table and writes JSON; DATA is the folder
of real scans ($COLIPRI_TEST_DATA, or ../shared/data beside the repository). Every object is clicked at its deepest
point, then at the deepest point of the largest error, ten times. A run goes on from its JSON, so it can be stopped
between objects; figures of another model are not gone on with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interactive.conversation import converse
from interactive.objects import Target
from interactive.objects import real_data
from interactive.objects import targets
from interactive.peers import PEERS

from colipri_core.inference.interactive import ClickSegmenter
from colipri_core.inference.interactive import load_segmenter
from colipri_core.io import read_volume
from colipri_core.io.atomic import write_json
from colipri_core.prompts import Crop
from colipri_core.prompts import Point
from colipri_core.volume import Volume

CLICKS = 10
REPORTED = (1, 3, 5, 10)
OURS = "clicks"
FALL = 0.01
RESULTS = Path(__file__).parent / "results" / "clicks.json"


def measure_object(target: Target, segmenter: ClickSegmenter, methods: list[str]) -> dict[str, Any]:
    """Let each method outline one object."""
    found: dict[str, Any] = {}
    for name in methods:
        if name == OURS:

            def answer(points: list[Point], shown: Crop | None) -> Crop:
                return segmenter.propose(target.volume, points, previous=shown)

        else:
            peer = PEERS[name]()
            peer.begin(target.volume, target.mask)

            def answer(points: list[Point], shown: Crop | None, peer: Any = peer) -> Crop:
                del shown
                return peer.propose(target.volume, points)

        dices, seconds = converse(target, answer, clicks=CLICKS)
        found[name] = {"dice": [round(d, 4) for d in dices], "seconds": [round(s, 3) for s in seconds]}
    return {"group": target.group, "voxels": int(target.mask.sum()), "methods": found}


def summary(objects: dict[str, Any]) -> dict[str, Any]:
    """Median Dice a group and method, how often Dice fell, and seconds a click."""
    groups: dict[str, Any] = {}
    for group in sorted({entry["group"] for entry in objects.values()}):
        entries = [entry["methods"] for entry in objects.values() if entry["group"] == group]
        groups[group] = {
            "objects": len(entries),
            **{name: _figures([entry[name] for entry in entries if name in entry]) for name in (OURS, *PEERS)},
        }
    return groups


def _figures(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not runs:
        return None
    steps = [after - before for run in runs for before, after in zip(run["dice"], run["dice"][1:], strict=False)]
    return {
        **{f"dice_after_{n}": round(statistics.median(run["dice"][n - 1] for run in runs), 4) for n in REPORTED},
        "share_of_clicks_after_which_dice_fell": round(sum(step < -FALL for step in steps) / len(steps), 4),
        "median_s_per_click": round(statistics.median(s for run in runs for s in run["seconds"]), 3),
    }


def latency(segmenter: ClickSegmenter, data: Path) -> dict[str, Any]:
    """Seconds a click in a volume of 512 x 512 x 300: a chest slab repeated along the body, a tumour and a lung."""
    slab = read_volume(data / "pyradiomics" / "lung1_image.nrrd")
    axis = int(np.abs(slab.affine[2, :3]).argmax())
    copies = -(-300 // slab.shape[axis])
    voxels = np.concatenate([slab.voxels] * copies, axis=axis).take(range(300), axis=axis)
    volume = Volume(voxels=voxels, affine=slab.affine)
    tumour = read_volume(data / "pyradiomics" / "lung1_label.nrrd")
    place = tumour.geometry.index_to_world(np.argwhere(tumour.voxels > 0).mean(axis=0))
    lung = _lung_near(slab, place)
    found = {"shape": list(volume.shape), "threads": torch.get_num_threads()}
    for name, at in (("tumour", place), ("lung", lung)):
        first = Point(ras=(float(at[0]), float(at[1]), float(at[2])))
        second = Point(ras=(float(at[0]), float(at[1]) + 12.0, float(at[2])), positive=False)
        shown, seconds = None, []
        for clicks in ([first], [first, second]):
            runs = [_timed(segmenter, volume, clicks, shown) for _ in range(3)]
            seconds.append(round(statistics.median(run[1] for run in runs), 3))
            shown = None if runs[0][0].is_empty else runs[0][0]
        found[name] = {"first_click_s": seconds[0], "correction_s": seconds[1]}
    return found


def _timed(segmenter: ClickSegmenter, volume: Volume, clicks: list[Point], shown: Crop | None) -> tuple[Crop, float]:
    import time

    started = time.perf_counter()
    crop = segmenter.propose(volume, clicks, previous=shown)
    return crop, time.perf_counter() - started


def _lung_near(volume: Volume, place: np.ndarray) -> np.ndarray:
    """World position of the voxel of lung density nearest to a place."""
    air = np.argwhere((volume.voxels > -920) & (volume.voxels < -750))[::50]
    places = volume.geometry.index_to_world(air)
    return np.asarray(places[np.linalg.norm(places - place, axis=1).argmin()])


def show(groups: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"{'group':10s}{'method':16s}" + "".join(f"{f'{n} clicks':>11s}" for n in REPORTED) + f"{'fell':>8s}{'s':>8s}"
    )
    for group, row in groups.items():
        for name in (OURS, *PEERS):
            if figures := row[name]:
                cells = "".join(f"{figures[f'dice_after_{n}']:11.3f}" for n in REPORTED)
                fell = figures["share_of_clicks_after_which_dice_fell"]
                print(f"{group:10s}{name:16s}{cells}{fell:8.2f}{figures['median_s_per_click']:8.2f}")


def main() -> int:
    """Measure what is missing, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=real_data(), help="folder of the real data")
    parser.add_argument("--model", default="clicks", help="shipped bundle or folder")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--only", choices=(OURS, *PEERS), help="one method alone")
    parser.add_argument("--no-latency", action="store_true")
    arguments = parser.parse_args()
    segmenter = load_segmenter(arguments.model, device="cpu")
    methods = [arguments.only] if arguments.only else [OURS, *PEERS]
    document: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
    if document.get("model") != segmenter.card.sha256:
        document = {"model": segmenter.card.sha256, "card": segmenter.card.to_json(), "objects": {}}
    for target in targets(arguments.data):
        known = document["objects"].setdefault(target.name, {"methods": {}})
        missing = [name for name in methods if name not in known["methods"]]
        if missing:
            found = measure_object(target, segmenter, missing)
            known.update({**found, "methods": {**known["methods"], **found["methods"]}})
            document["groups"] = summary({n: o for n, o in document["objects"].items() if "group" in o})
            write_json(arguments.json, document)
            print(target.name, {n: found["methods"][n]["dice"] for n in missing}, file=sys.stderr, flush=True)
    if not arguments.no_latency:
        document["latency"] = latency(segmenter, arguments.data)
        write_json(arguments.json, document)
        print(json.dumps(document["latency"]))
    show(document["groups"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
