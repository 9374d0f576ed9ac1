"""The bundle that ships: it is whole, it says what it is, and it outlines lungs in real CT it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import colipri_core as cc
from colipri_core.geometry import reorient_array
from colipri_core.io import read_volume
from colipri_core.language.labeller import label_report
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_core.volume import Volume
from colipri_training.phantoms import PhantomBatch
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import generate

LUNG_CASES = (
    ("lung_masks/imlab_id001_ct.nii.gz", "lung_masks/imlab_id001_lung.nii.gz"),
    ("lung_masks/imlab_id002_ct.nii.gz", "lung_masks/imlab_id002_lung.nii.gz"),
    ("lung_masks/imlab_id003_ct.nii.gz", "lung_masks/imlab_id003_lung.nii.gz"),
    ("cip/ct-64.nrrd", "cip/wholeLung-64.nrrd"),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cc.Engine]:
    with cc.open_engine("tiny", device="cpu", cache_dir=tmp_path_factory.mktemp("cache")) as engine:
        yield engine


def test_says_that_it_learned_from_synthetic_data(tiny: cc.Engine) -> None:
    assert tiny.card.synthetic
    assert "SYNTHETIC" in tiny.card.notice
    assert "not for diagnosis" in tiny.card.notice
    assert tiny.capabilities.findings == CT_RATE_FINDINGS


@pytest.mark.parametrize(("image", "mask"), LUNG_CASES)
def test_lungs_of_real_scans(tiny: cc.Engine, shared_data: Path, image: str, mask: str) -> None:
    volume = read_volume(shared_data / image)
    with tiny.open(volume) as session:
        outlined = session.segment()
    labels = [segment.label for segment in outlined.segments if segment.name.endswith("lung lobe")]
    found = reorient_array(np.isin(outlined.labelmap, labels), outlined.geometry.orientation, "RAS")
    reference = read_volume(shared_data / mask).reoriented("RAS").voxels > 0
    dice = 2 * (found & reference).sum() / (found.sum() + reference.sum())
    assert dice >= 0.90


def test_orientation_of_the_file_does_not_matter(tiny: cc.Engine, shared_data: Path) -> None:
    volume = read_volume(shared_data / "lung_masks/imlab_id001_ct.nii.gz")
    turned = volume.reoriented("SPR")
    with tiny.open(volume) as session, tiny.open(turned) as other:
        for finding, same in zip(session.classify(), other.classify(), strict=True):
            assert finding.probability == pytest.approx(same.probability, abs=0.02)


TEST_SEEDS = range(2_000_000, 2_000_004)
"""Phantoms of the test split."""

LEAST_DICE = {
    "Body": 0.85,
    "Left upper lung lobe": 0.85,
    "Left lower lung lobe": 0.85,
    "Right upper lung lobe": 0.85,
    "Right middle lung lobe": 0.7,
    "Right lower lung lobe": 0.85,
    "Heart": 0.8,
    "Aorta": 0.7,
    "Spine": 0.65,
    "Liver": 0.85,
    "Airways": 0.6,
    "Ribs and other bones": 0.6,
    "Spleen": 0.65,
    "Stomach": 0.7,
}
"""Mean over the phantoms above."""


@pytest.fixture(scope="module")
def drawn() -> PhantomBatch:
    """Some phantoms that no training has seen."""
    return generate(TEST_SEEDS, PhantomGrid())


@pytest.fixture(scope="module")
def overlaps(tiny: cc.Engine, drawn: PhantomBatch) -> dict[str, float]:
    """Mean Dice of every structure over the phantoms."""
    grid = PhantomGrid()
    found: dict[str, list[float]] = {structure.name: [] for structure in tiny.capabilities.structures}
    for hu, labels in zip(drawn.hu.numpy(), drawn.labels.numpy(), strict=True):
        with tiny.open(Volume(voxels=hu, affine=grid.affine)) as session:
            outlined = session.segment()
        for label, name in enumerate(found, start=1):
            reference = labels == label
            if reference.any():
                mask = outlined.labelmap == outlined.segment(name).label
                found[name].append(2 * (mask & reference).sum() / (mask.sum() + reference.sum()))
    return {name: float(np.mean(values)) for name, values in found.items()}


@pytest.mark.parametrize(("structure", "least"), LEAST_DICE.items())
def test_every_structure_is_found_in_phantoms(overlaps: dict[str, float], structure: str, least: float) -> None:
    assert overlaps[structure] >= least


def test_no_structure_goes_unchecked(tiny: cc.Engine) -> None:
    assert set(LEAST_DICE) == {structure.name for structure in tiny.capabilities.structures}


def test_what_it_writes_is_mostly_true_and_leaves_no_finding_out(tiny: cc.Engine, drawn: PhantomBatch) -> None:
    said, true = [], []
    for hu, case in zip(drawn.hu.numpy(), drawn.cases, strict=True):
        with tiny.open(Volume(voxels=hu, affine=PhantomGrid().affine)) as session:
            report = session.draft_report()
        assert {sentence.support.source for sentence in report} == {"report decoder"}
        assert {sentence.finding for sentence in report} == set(CT_RATE_FINDINGS)
        said.append(label_report(report.text).vector)
        true.append([finding in case.present for finding in range(len(CT_RATE_FINDINGS))])
    both = np.logical_and(said, true).sum()
    assert 2 * both / (np.sum(said) + np.sum(true)) >= 0.65
