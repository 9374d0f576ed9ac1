"""Our preprocessing against the official package's transform, on volumes of any orientation."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings

import numpy as np
import pytest

from colipri_core.preprocess import prepare
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.volume import Volume

pytest.importorskip("torchio")
pytest.importorskip("omegaconf")
pytest.importorskip("hydra")
if importlib.util.find_spec("colipri") is None:
    pytest.skip("the official package colipri is not installed", allow_module_level=True)

from official_transform import official_transform
from official_transform import run_official

SIZE = 40
SPEC = PreprocessSpec(size=(SIZE, SIZE, SIZE))


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine; a third each axis-aligned (permuted, flipped), slightly oblique, arbitrarily rotated."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    shape = rng.integers(10, 90, 3)
    aligned = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    rotation = {
        0: np.eye(3),
        1: Rotation.from_rotvec(rng.uniform(-0.3, 0.3, 3)).as_matrix(),
        2: Rotation.random(random_state=seed).as_matrix(),
    }[seed % 3]
    affine = np.eye(4)
    affine[:3, :3] = rotation @ aligned * rng.uniform(0.4, 5, 3)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    lowest = -1200 if seed % 2 else -300
    return rng.integers(lowest, 1500, shape).astype(np.int16), affine


@pytest.fixture(scope="module")
def official():
    warnings.simplefilter("ignore")
    return official_transform(input_size=SIZE)


@pytest.mark.parametrize("seed", range(12))
def test_float_volumes_agree_voxel_by_voxel(official, seed):
    voxels, affine = random_case(seed)
    expected = run_official(official, voxels.astype(np.float32), affine)
    prepared = prepare(Volume(voxels=voxels.astype(np.float32), affine=affine), SPEC)
    assert np.abs(prepared.array - expected.data[0].numpy()).max() < 2e-6
    np.testing.assert_allclose(prepared.geometry.affine, expected.affine, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_integer_truncation_reproduces_the_official_integer_path(official, seed):
    voxels, affine = random_case(seed)
    expected = run_official(official, voxels, affine).data[0].numpy()
    truncating = dataclasses.replace(SPEC, integer_truncation=True)
    differences = np.abs(prepare(Volume(voxels=voxels, affine=affine), truncating).array - expected)
    # A sample that falls on a whole number is truncated by the last bit of the order of summation.
    assert (differences > 1e-6).mean() < 1e-4
    assert differences.max() < 1.01e-3


def test_integer_volumes_keep_fractions_of_a_hu_by_default(official):
    voxels, affine = random_case(3)
    expected = run_official(official, voxels.astype(np.float32), affine).data[0].numpy()
    assert np.abs(prepare(Volume(voxels=voxels, affine=affine), SPEC).array - expected).max() < 2e-6


@pytest.mark.parametrize("name", ["totalseg/example_ct_sm.nii.gz", "lung_masks/imlab_id001_ct.nii.gz"])
def test_real_volumes_agree(official, shared_data, name):
    import nibabel as nib

    image = nib.load(shared_data / name)
    voxels = np.asarray(image.dataobj).astype(np.float32)
    expected = run_official(official, voxels, image.affine).data[0].numpy()
    prepared = prepare(Volume(voxels=voxels, affine=image.affine), SPEC)
    assert np.abs(prepared.array - expected).max() < 2e-6


def test_other_orientation_and_size(official):
    voxels, affine = random_case(4)
    transform = official_transform(input_size=32, orientation="SAR", spacing=3)
    expected = run_official(transform, voxels.astype(np.float32), affine).data[0].numpy()
    spec = PreprocessSpec(orientation="SAR", spacing_mm=(3, 3, 3), size=(32, 32, 32))
    prepared = prepare(Volume(voxels=voxels.astype(np.float32), affine=affine), spec)
    assert np.abs(prepared.array - expected).max() < 2e-6
