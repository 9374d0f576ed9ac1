"""What three labelled real lungs teach: a structure head fine-tuned on them, judged on a fourth scan.

`python benchmarks/corrections.py [DATA] [--steps N] [--json FILE]` makes a label project of the three whole chests of
the real data, fine-tunes the head of the shipped model on it, opens the bundle as a viewer would, and prints Dice on
the fourth scan on its own grid: before (the union of the lung lobes) and after. The interactive segmenter is adapted on
the same project with --clicks-steps, and judged by ten simulated clicks on the fourth scan. Nothing made here ships.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from interactive.conversation import converse
from interactive.objects import Target
from interactive.objects import targets

from colipri_core.engine import open_engine
from colipri_core.inference.interactive import load_segmenter
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.io.atomic import write_json
from colipri_core.project import LabelProject
from colipri_core.prompts import Crop
from colipri_core.prompts import Point
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_training.cli.main import main as train
from colipri_training.evaluation.overlap import dice

LABELLED = ("imlab_id001", "imlab_id002", "imlab_id003")
JUDGED = ("cip/ct-64.nrrd", "cip/wholeLung-64.nrrd")
LOBES = "lung lobe"
CLICKS = 10
RESULTS = Path(__file__).parent / "results" / "corrections.json"

Mask = npt.NDArray[np.bool_]


def make_project(data: Path, folder: Path) -> None:
    """Lay the three labelled scans out as the viewer's project section leaves them, each marked done."""
    for name in LABELLED:
        scan = data / "lung_masks" / f"{name}_ct.nii.gz"
        shutil.copyfile(scan, folder / scan.name)
        lungs = read_labelmap(data / "lung_masks" / f"{name}_lung.nii.gz")
        labels = Segmentation(
            labelmap=(lungs.labelmap > 0).astype(np.uint8),
            geometry=lungs.geometry,
            segments=(Segment(label=1, name="Lung", code="SCT:39607008"),),
        )
        write_labelmap(labels, folder / f"{name}_ct_dseg.nii.gz")
    project = LabelProject(folder)
    for case in project.cases:
        project.mark(case.name, "done")


def lung_outlined(model: str | Path, data: Path) -> Mask:
    """The lungs as a model outlines them in the fourth scan, on its own grid: "Lung", or all lobes."""
    with open_engine(model, device="cpu") as engine, engine.open(read_volume(data / JUDGED[0])) as session:
        names = [concept.name for concept in engine.capabilities.structures]
        wanted = [name for name in names if name == "Lung" or name.endswith(LOBES)]
        return np.asarray(session.segment(wanted).labelmap > 0)


def structures(data: Path, project: Path, folder: Path, steps: int) -> dict[str, Any]:
    """Fine-tune a head, and score it before and after."""
    truth = read_labelmap(data / JUDGED[1]).labelmap > 0
    before = dice(lung_outlined("tiny", data), truth)
    started = time.perf_counter()
    train_or_fail(
        ["structures", "--project", project, "--init", "tiny", "--output", folder, "--steps", steps, "--validation", 0]
    )
    seconds = time.perf_counter() - started
    after = dice(lung_outlined(folder / "bundle", data), truth)
    return {"dice_before": round(before, 4), "dice_after": round(after, 4), "steps": steps, "seconds": round(seconds)}


def clicks(data: Path, project: Path, folder: Path, steps: int) -> dict[str, Any]:
    """Adapt the interactive segmenter, and let both outline the lungs of the fourth scan."""
    bundle, started = folder / "bundle", time.perf_counter()
    train_or_fail(["clicks", "--project", project, "--output", folder, "--bundle", bundle, "--steps", steps])
    seconds = time.perf_counter() - started
    lungs = [target for target in targets(data) if target.name.startswith(JUDGED[0]) and target.group == "lungs"]
    found = {"before": mean_dice("clicks", lungs), "after": mean_dice(bundle, lungs)}
    return {**found, "objects": len(lungs), "steps": steps, "seconds": round(seconds)}


def mean_dice(model: str | Path, objects: list[Target]) -> dict[str, float]:
    """Mean Dice over objects after 1, 3, 5 and 10 simulated clicks."""
    segmenter = load_segmenter(model, device="cpu")
    runs = []
    for target in objects:

        def answer(points: list[Point], shown: Crop | None, target: Target = target) -> Crop:
            return segmenter.propose(target.volume, points, previous=shown)

        runs.append(converse(target, answer, clicks=CLICKS)[0])
    mean = np.mean(runs, axis=0)
    return {f"dice_after_{number}": round(float(mean[number - 1]), 4) for number in (1, 3, 5, 10)}


def train_or_fail(arguments: list[object]) -> None:
    """Run `colipri-train` in this process."""
    status = train([str(argument) for argument in arguments])
    if status:
        msg = f"colipri-train {arguments[0]} ended with status {status}"
        raise RuntimeError(msg)


def main() -> int:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(os.environ.get("COLIPRI_TEST_DATA", beside))
    parser.add_argument("data", type=Path, nargs="?", default=data, help="folder of the real data")
    parser.add_argument("--steps", type=int, default=200, help="of the structure head")
    parser.add_argument("--clicks-steps", type=int, default=0, help="of the interactive segmenter; 0 leaves it out")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        project = Path(place) / "lungs"
        project.mkdir()
        make_project(arguments.data, project)
        document: dict[str, Any] = {
            "learned_from": list(LABELLED),
            "judged_on": JUDGED[0],
            "threads": torch.get_num_threads(),
            "structures": structures(arguments.data, project, Path(place) / "head", arguments.steps),
        }
        print(f"lungs of {JUDGED[0]}: {document['structures']}")
        if arguments.clicks_steps:
            document["clicks"] = clicks(arguments.data, project, Path(place) / "clicks", arguments.clicks_steps)
            print(f"clicks: {document['clicks']}")
    write_json(arguments.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
