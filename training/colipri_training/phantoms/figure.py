"""Figures of the phantoms for the docs: a montage beside real scans, and where their HU histograms peak.

Run as `python -m colipri_training.phantoms.figure OUTPUT --data FOLDER`: writes OUTPUT/phantoms.png, and
OUTPUT/phantoms.json with the quantiles of lung density and the peaks of fat and soft tissue of phantoms and real scans.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import SimpleITK
import typer

from colipri_training.phantoms.generator import generate
from colipri_training.phantoms.structures import LUNG_LOBES

WINDOW_HU = (-1000.0, 400.0)
SLICES = (0.82, 0.68, 0.55, 0.42, 0.28)
REAL_SCANS = (
    "cip/ct-64.nrrd",
    "lung_masks/imlab_id001_ct.nii.gz",
    "lung_masks/imlab_id002_ct.nii.gz",
    "lung_masks/imlab_id003_ct.nii.gz",
    "pyradiomics/lung1_image.nrrd",
)
_SPACING_MM = 4.0
_TILE = 96


def read_real(path: Path) -> np.ndarray:
    """Return a real scan as HU [x, y, z] on a RAS+ grid of 4 mm."""
    image = SimpleITK.DICOMOrient(SimpleITK.Cast(SimpleITK.ReadImage(str(path)), SimpleITK.sitkFloat32), "LPS")
    extent = np.asarray(image.GetSpacing()) * np.asarray(image.GetSize())
    size = [int(n) for n in np.ceil(extent / _SPACING_MM)]
    args = (image.GetOrigin(), [_SPACING_MM] * 3, image.GetDirection(), -1000.0)
    resampled = SimpleITK.Resample(image, size, SimpleITK.Transform(), SimpleITK.sitkLinear, *args)
    return SimpleITK.GetArrayFromImage(resampled).transpose(2, 1, 0)[::-1, ::-1]


def tiles(hu: np.ndarray) -> np.ndarray:
    """Return one row of a montage, uint8 (96, n * 96): axial slices from top to bottom, one coronal, one sagittal."""
    scanned = np.flatnonzero((hu > -900).any(axis=(0, 1)))
    heights = [int(scanned[0] + share * (len(scanned) - 1)) for share in SLICES]
    planes = [hu[::-1, ::-1, k].T for k in heights]
    planes += [hu[::-1, hu.shape[1] // 2, ::-1].T, hu[hu.shape[0] // 2, :, ::-1].T]
    return np.concatenate([_tile(plane) for plane in planes], axis=1)


def _tile(plane: np.ndarray) -> np.ndarray:
    low, high = WINDOW_HU
    grey = np.clip((plane - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    canvas = np.zeros((_TILE, _TILE), np.uint8)
    rows, columns = (min(size, _TILE) for size in grey.shape)
    top, left = ((size - kept) // 2 for size, kept in zip(grey.shape, (rows, columns), strict=True))
    start = (_TILE - rows) // 2, (_TILE - columns) // 2
    canvas[start[0] : start[0] + rows, start[1] : start[1] + columns] = grey[top : top + rows, left : left + columns]
    return canvas


def peaks(hu: np.ndarray) -> dict[str, float]:
    """Return the HU at which the histogram peaks for fat and for soft tissue, and the shares of four tissues."""
    counts, edges = np.histogram(hu, np.arange(-1000, 610, 10))
    middles = edges[:-1] + 5
    counts = np.convolve(counts, np.ones(3) / 3, "same")
    spans = {"lung": (-950, -600), "fat": (-150, -50), "soft_tissue": (0, 110), "bone": (150, 600)}
    inside = {name: (middles > low) & (middles < high) for name, (low, high) in spans.items()}
    total = counts[middles > -950].sum()
    found = {
        f"{name}_peak_hu": float(middles[inside[name]][counts[inside[name]].argmax()])
        for name in ("fat", "soft_tissue")
    }
    return found | {f"{name}_share": round(float(counts[mask].sum() / total), 3) for name, mask in inside.items()}


def main(
    output: Path,
    data: Annotated[Path | None, typer.Option(help="Folder of real scans.")] = None,
    seeds: Annotated[int, typer.Option(help="Number of phantoms measured; the first six are shown.")] = 20,
) -> None:
    """Write the montage and the figures."""
    from PIL import Image

    real = {name: read_real(data / name) for name in REAL_SCANS} if data else {}
    drawn, rows, lungs = {}, [tiles(hu) for hu in real.values()], []
    for seed in range(seeds):
        batch = generate([seed])
        hu = batch.hu[0].numpy()
        drawn[str(seed)] = peaks(hu)
        lungs.append(_quantiles(hu[np.isin(batch.labels[0].numpy(), LUNG_LOBES)]))
        rows += [tiles(hu)] if seed < 6 else []
    output.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(output / "phantoms.png")
    figures = {
        "phantoms": drawn,
        "real": {name: peaks(hu) for name, hu in real.items()},
        "lung_quantiles_5_25_50_75_95": lungs,
    }
    (output / "phantoms.json").write_text(json.dumps(figures, indent=1) + "\n")


def _quantiles(values: np.ndarray) -> Sequence[float]:
    return [round(float(q), 1) for q in np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])]


if __name__ == "__main__":
    typer.run(main)
