"""The bundle that ships: it is whole, it says what it is, and it outlines lungs in real CT it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import colipri_core as cc
from colipri_core.geometry import reorient_array
from colipri_core.io import read_volume
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS

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
