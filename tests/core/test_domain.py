"""What is no chest CT is said to be none; what is one is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chests import ORIENTATIONS
from chests import chest

from colipri_core.inference.body import find_body
from colipri_core.inference.domain import domain_warnings
from colipri_core.inference.domain import shares
from colipri_core.io import read_volume
from colipri_core.preprocess import prepare
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.volume import Volume

SPECS = {
    "tiny": PreprocessSpec(spacing_mm=(4.0,) * 3, size=(96,) * 3),
    "published": PreprocessSpec.published(),
}
CHESTS = (
    "pyradiomics/lung1_image.nrrd",
    "lung_masks/imlab_id002_ct.nii.gz",
    "lung_masks/imlab_id003_ct.nii.gz",
    "lidc/LIDC-IDRI-0001_ct.nii.gz",
    "lidc/LIDC-IDRI-0002_ct.nii.gz",
    "totalseg/pulmonary/ct_cropped.nii.gz",
    "cip/ct-64.nrrd",
    "cip/TestInput.nrrd",
)
NO_CHESTS = ("totalseg/example_ct.nii.gz", "totalseg/example_ct_sm.nii.gz", "dicom/rspect_demo/train")


@pytest.fixture(params=SPECS.values(), ids=SPECS.keys())
def spec(request: pytest.FixtureRequest) -> PreprocessSpec:
    return request.param


def warnings_for(volume: Volume, spec: PreprocessSpec) -> tuple[str, ...]:
    return domain_warnings(find_body(prepare(volume, spec), spec, patch_size=8))


@pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")
@pytest.mark.parametrize("name", CHESTS)
def test_real_chests_pass(name: str, spec: PreprocessSpec, shared_data: Path) -> None:
    assert warnings_for(read_volume(shared_data / name), spec) == ()


@pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")
@pytest.mark.parametrize("name", NO_CHESTS)
def test_real_abdomens_are_noticed(name: str, spec: PreprocessSpec, shared_data: Path) -> None:
    (warning,) = warnings_for(read_volume(shared_data / name), spec)
    assert "Out of distribution" in warning
    assert "aerated lung" in warning


@pytest.mark.parametrize(
    ("voxels", "reason"),
    [
        (np.random.default_rng(0).normal(0, 300, (90, 90, 90)), "noise"),
        (np.random.default_rng(0).uniform(-1000, 1000, (90, 90, 90)), "noise"),
        (np.full((90, 90, 90), -1000.0), "no body"),
        (np.zeros((90, 90, 90)), "aerated lung"),
    ],
    ids=["gaussian", "uniform", "air", "water"],
)
def test_images_of_nothing_are_noticed(voxels: np.ndarray, reason: str) -> None:
    volume = Volume(voxels=voxels.astype(np.float32), affine=np.diag([3.1, 3.1, 3.1, 1.0]))
    (warning,) = warnings_for(volume, SPECS["tiny"])
    assert reason in warning


def test_a_body_full_of_air_is_not_hounsfield_units() -> None:
    volume = chest()
    (warning,) = warnings_for(volume.replace_voxels((volume.voxels // 8 - 700).astype(np.int16)), SPECS["tiny"])
    assert "Hounsfield" in warning or "HU" in warning


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_the_judgement_does_not_depend_on_how_the_voxels_are_stored(orientation: str) -> None:
    spec = SPECS["tiny"]
    lung, soft, litres = shares(find_body(prepare(chest(), spec), spec, patch_size=8))
    turned = shares(find_body(prepare(chest().reoriented(orientation), spec), spec, patch_size=8))
    assert turned == pytest.approx((lung, soft, litres), rel=0.02)
    assert lung > 0.15


def test_the_judgement_does_not_depend_on_the_models_orientation() -> None:
    spec = PreprocessSpec(orientation="SAR", spacing_mm=(4.0,) * 3, size=(96,) * 3)
    expected = shares(find_body(prepare(chest(), SPECS["tiny"]), SPECS["tiny"], patch_size=8))
    assert shares(find_body(prepare(chest(), spec), spec, patch_size=8)) == pytest.approx(expected, rel=0.02)
