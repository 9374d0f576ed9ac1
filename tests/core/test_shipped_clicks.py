"""The interactive segmenter that ships: it is whole, says what it is, and outlines real objects it never saw."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from colipri_core.geometry import reorient_array
from colipri_core.inference.interactive import ClickSegmenter
from colipri_core.inference.interactive import load_segmenter
from colipri_core.io import read_volume
from colipri_core.io.labelmap import read_labelmap
from colipri_core.model.bundle import shipped_bundles
from colipri_core.prompts import Box
from colipri_core.prompts import Point
from colipri_core.volume import Volume

# Image, mask, label of the object, and the least Dice after one click.
CASES = (
    ("dicom/example_ct_dicom", "dicom/example_seg_dicom.nii.gz", 1, 0.5),
    pytest.param(
        *("dicom/example_ct_dicom", "dicom/example_seg_dicom.nii.gz", 5, 0.5),
        marks=pytest.mark.xfail(strict=True, reason="this version stops short of a whole liver after one click"),
    ),
    ("totalseg/example_ct.nii.gz", "totalseg/example_seg_fast_force_split.nii.gz", 21, 0.5),
)


@pytest.fixture(scope="module")
def clicks() -> ClickSegmenter:
    if "clicks" not in shipped_bundles("clicks"):
        pytest.skip("the bundle clicks is not in colipri_core/bundles: make it with training/runs/clicks.sh")
    return load_segmenter("clicks", device="cpu")


def deepest(mask: np.ndarray) -> np.ndarray:
    """The voxel that lies farthest inside a mask."""
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    depth = SimpleITK.GetArrayFromImage(SimpleITK.SignedMaurerDistanceMap(image, insideIsPositive=True))
    return np.array(np.unravel_index(int(depth.argmax()), mask.shape))


def truth(volume: Volume, path: Path, label: int) -> np.ndarray:
    mask = read_labelmap(path)
    return np.asarray(reorient_array(mask.labelmap, mask.geometry.orientation, volume.orientation) == label)


def nodule(spacing: tuple[float, float, float]) -> tuple[Volume, np.ndarray]:
    """An ellipsoid of 16 x 13 x 12 mm in noisy lung, and its mask."""
    shape = tuple(int(72 / side) for side in spacing)
    places = (np.indices(shape).T - (np.array(shape) - 1) / 2) * spacing
    wanted = (np.linalg.norm(places / (8.0, 6.5, 6.0), axis=-1) < 1).T
    noise = np.random.default_rng(0).normal(0, 25, shape)
    voxels = (np.where(wanted, 30, -850) + noise).astype(np.int16)
    return Volume(voxels=voxels, affine=np.diag([*spacing, 1.0])), wanted


def flat_box(volume: Volume, mask: np.ndarray, *, axis: int) -> Box:
    """The box around a mask in the slice through its deepest voxel."""
    at = deepest(mask)[axis]
    places = np.argwhere(mask)
    corners = places[places[:, axis] == at]
    lower, upper = volume.geometry.index_to_world([corners.min(axis=0), corners.max(axis=0)])
    return Box(lower_ras=tuple(lower.tolist()), upper_ras=tuple(upper.tolist()))


def largest_part(mask: np.ndarray) -> np.ndarray:
    numbered = SimpleITK.ConnectedComponent(SimpleITK.GetImageFromArray(mask.astype(np.uint8)))
    return SimpleITK.GetArrayFromImage(SimpleITK.RelabelComponent(numbered)) == 1


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_says_that_it_learned_from_synthetic_data(clicks: ClickSegmenter) -> None:
    assert clicks.card.kind == "clicks"
    assert "SYNTHETIC" in clicks.card.notice
    assert "not for diagnosis" in clicks.card.notice


@pytest.mark.parametrize(("image", "mask", "label", "least"), CASES)
def test_a_click_outlines_a_real_organ(
    clicks: ClickSegmenter, shared_data: Path, image: str, mask: str, label: int, least: float
) -> None:
    volume = read_volume(shared_data / image)
    wanted = truth(volume, shared_data / mask, label)
    r, a, s = volume.geometry.index_to_world(deepest(wanted))

    found = clicks.propose(volume, [Point(ras=(float(r), float(a), float(s)))], previous=None).on_grid(volume.shape)

    assert dice(found, wanted) > least


def test_the_same_organ_is_outlined_however_its_axes_are_stored(clicks: ClickSegmenter, shared_data: Path) -> None:
    volume = read_volume(shared_data / "dicom" / "example_ct_dicom")
    turned = volume.reoriented("ASR")
    wanted = truth(volume, shared_data / "dicom" / "example_seg_dicom.nii.gz", 1)
    r, a, s = volume.geometry.index_to_world(deepest(wanted))
    click = Point(ras=(float(r), float(a), float(s)))

    masks = [clicks.propose(v, [click], previous=None).on_grid(v.shape) for v in (volume, turned)]

    assert np.array_equal(reorient_array(masks[0], volume.orientation, "ASR"), masks[1])


@pytest.mark.parametrize("plane", [0, 1, 2])
@pytest.mark.parametrize("orientation", ["RAS", "SLP"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.6, 2.5)])
def test_a_flat_box_around_its_slice_outlines_a_nodule(
    clicks: ClickSegmenter, plane: int, orientation: str, spacing: tuple[float, float, float]
) -> None:
    volume, wanted = nodule(spacing)
    volume = volume.reoriented(orientation)
    wanted = np.asarray(reorient_array(wanted, "RAS", orientation))

    found = clicks.propose(volume, [flat_box(volume, wanted, axis=plane)], previous=None).on_grid(volume.shape)

    assert dice(found, wanted) > 0.8


@pytest.mark.parametrize("plane", [0, 1, 2])
@pytest.mark.parametrize(("case", "least"), [("0001", 0.55), ("0002", 0.55)])
def test_a_flat_box_outlines_a_real_nodule(
    clicks: ClickSegmenter, shared_data: Path, case: str, least: float, plane: int
) -> None:
    """The nodule as at least two of the four readers drew it."""
    volume = read_volume(shared_data / "lidc" / f"LIDC-IDRI-{case}_ct.nii.gz")
    votes = read_labelmap(shared_data / "lidc" / f"LIDC-IDRI-{case}_nodule_votes.nii.gz")
    wanted = largest_part(reorient_array(votes.labelmap, votes.geometry.orientation, volume.orientation) >= 2)

    found = clicks.propose(volume, [flat_box(volume, wanted, axis=plane)], previous=None).on_grid(volume.shape)

    assert dice(found, wanted) > least


def test_a_click_in_a_large_volume_is_quick(clicks: ClickSegmenter) -> None:
    """A generous bound for a busy machine; the benchmark has the figures."""
    voxels = np.full((512, 512, 300), -800, dtype=np.int16)
    voxels[240:260, 250:275, 140:160] = 40
    volume = Volume(voxels=voxels, affine=np.diag([0.7, 0.7, 1.0, 1.0]))
    r, a, s = volume.geometry.index_to_world((250, 262, 150))
    started = time.perf_counter()

    mask = clicks.propose(volume, [Point(ras=(float(r), float(a), float(s)))], previous=None)

    assert time.perf_counter() - started < 20
    assert not mask.is_empty
