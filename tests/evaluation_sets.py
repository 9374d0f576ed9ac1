"""Small bundles, features and data sets for tests of evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from chests import chest
from random_bundles import config
from random_bundles import save_random_bundle
from random_bundles import vocabulary
from safetensors.torch import save_file
from torch import Tensor

from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import save_bundle
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.prepare import PrepareOptions
from colipri_training.data.prepare import prepare
from colipri_training.evaluation.cases import Case
from colipri_training.evaluation.features import Features

GRID = PreprocessSpec(spacing_mm=(12.0, 12.0, 12.0), size=(24, 24, 24), padding=-1.0)
SPLITS = {"train": 12, "validation": 40, "test": 24}
EFFUSION, NODULE = "Pleural effusion", "Lung nodule"


def save_bundle_on_grid(folder: Path, *, seed: int = 0, decoder: bool = False) -> Path:
    """Write a random bundle on `GRID`, with a structure head, and with a report decoder if asked."""
    if not decoder:
        return save_random_bundle(folder, seed=seed, local=True, preprocessing=GRID)
    plain = load_bundle(save_random_bundle(folder.with_name(f"{folder.name}-plain"), seed=seed, preprocessing=GRID))
    torch.manual_seed(seed)
    sizes = ReportDecoderConfig(
        vocab_size=len(vocabulary()),
        memory_width=config().image.width,
        width=24,
        layers=1,
        heads=2,
        hidden=32,
        max_length=24,
        dropout=0.0,
    )
    spec = dataclasses.replace(plain.spec, name=folder.name, report=sizes.to_json(), files={})
    save_bundle(
        folder,
        spec=spec,
        model=plain.model,
        tokenizer=plain.tokenizer,
        structure_head=plain.structure_head,
        report_decoder=ReportDecoder(sizes),
    )
    return folder


def prepare_chests(folder: Path, *, splits: Mapping[str, int] = SPLITS, labelled: bool = True) -> Path:
    """Prepare chests on `GRID`, each of its own patient.

    The lungs of every second one are full of fluid, and its report says so.

    Returns:
        The prepared folder.
    """
    entries = []
    for split, count in splits.items():
        for number in range(count):
            present = number % 2 == 0
            entries.append(_entry(folder / "in", f"{split}{number:03d}", split, present=present, labelled=labelled))
    prepare(Manifest(entries=tuple(entries)), folder / "prepared", PrepareOptions(spec=GRID))
    return folder / "prepared"


def _entry(folder: Path, name: str, split: str, *, present: bool, labelled: bool) -> Entry:
    volume = chest(spacing=(14.0, 14.0, 14.0), seed=sum(map(ord, name)))
    in_lung = (volume.voxels > -900) & (volume.voxels < -700)
    voxels = np.where(in_lung & present, 20, volume.voxels).astype(np.int16)
    path = folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, volume.affine), path)
    says = "There is a pleural effusion." if present else "There is no pleural effusion."
    return Entry(
        id=name,
        image=path,
        patient=f"p-{name}",
        split=split,
        report=f"Findings: Scan {name}. {says}",
        labels={EFFUSION: int(present), NODULE: 0} if labelled else {},
    )


def make_features(folder: Path, tokens: Tensor, labels: np.ndarray, *, split: str = "train") -> Features:
    """Features of N cases with tokens (N, n, C) and labels (N, F) of the first findings, kept in files."""
    folder.mkdir(parents=True, exist_ok=True)
    files, cases = [], []
    for index, (own, row) in enumerate(zip(tokens, labels, strict=True)):
        files.append(folder / f"{index}.safetensors")
        save_file({"tokens": own.half().contiguous()}, files[-1])
        known = {name: int(label) for name, label in zip(CT_RATE_FINDINGS, row, strict=False) if not np.isnan(label)}
        cases.append(
            Case(
                id=str(index), patient=f"p{index}", split=split, fingerprint="", report=f"Report {index}.", labels=known
            )
        )
    vectors = torch.nn.functional.normalize(tokens.mean(dim=1), dim=1)
    return Features(
        cases=tuple(cases),
        joint=vectors,
        mean=tokens.mean(dim=1),
        maximum=tokens.amax(dim=1),
        texts=vectors,
        files=tuple(files),
        records=({},) * len(cases),
    )
