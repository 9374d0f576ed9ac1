"""What LocalEngine says of a scan, read as every front end reads it; run by the Python that has torch."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

import colipri_core as cc

PHRASE = "pleural effusion"


def main(image: Path, transform: Path, folder: Path) -> None:
    """Write labelmap, probabilities, evidence and the answers to prompts.

    Readers differ in the eighth digit of an affine, enough to turn a voxel on the edge of a mask. So the affine of the
    file, moved, is written to be compared within that, and the results are those with the affine that was asked.

    Args:
        image: The scan.
        transform: JSON with the matrix it is "moved" by and the "affine" that results are to be made with, 4x4.
        folder: Where to write.
    """
    volume, asked = cc.read_volume(image), json.loads(transform.read_text())
    moved = dataclasses.replace(volume, affine=np.array(asked["affine"]))
    inside = [size // 2 for size in moved.shape]
    with cc.open_engine("tiny", device="cpu") as engine, engine.open(moved) as session:
        findings = {item.name: item.probability for item in session.classify()}
        np.save(folder / "structures.npy", session.segment().labelmap)
        np.save(folder / "evidence.npy", session.evidence(PHRASE).values)
        r, a, s = (float(value) for value in moved.geometry.index_to_world(inside))
        session.prompt(cc.Point(ras=(r, a, s)), label=1)
        np.save(folder / "point.npy", session.segmentation.labelmap)
        report = session.draft_report()
        document = {
            "findings": findings,
            "affine": (np.array(asked["moved"]) @ volume.affine).tolist(),
            "clicked": [r, a, s],
            "report": report.text,
        }
        (folder / "values.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
