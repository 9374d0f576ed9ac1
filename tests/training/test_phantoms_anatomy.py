"""The anatomy of normal phantoms: sides, places, sizes and HU of structures, and agreement with real scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import structures
from colipri_training.phantoms.acquisition import acquire
from colipri_training.phantoms.generator import Phantom
from colipri_training.phantoms.generator import draw_phantom
from colipri_training.phantoms.generator import render
from colipri_training.phantoms.scene import Scene

SEEDS = range(100, 105)
GRID = PhantomGrid()


@pytest.fixture(scope="module")
def normals() -> list[tuple[Phantom, Scene]]:
    phantoms = [draw_phantom(seed, present=frozenset()) for seed in SEEDS]
    return [(phantom, render(phantom, GRID, torch.device("cpu"))) for phantom in phantoms]


def centroid(scene: Scene, label: int) -> np.ndarray:
    voxels = (scene.labels == label).nonzero().double().mean(dim=0).numpy()
    return GRID.affine[:3, :3] @ voxels + GRID.affine[:3, 3]


def litres(scene: Scene, *labels: int) -> float:
    return float(torch.isin(scene.labels, torch.tensor(labels, dtype=torch.uint8)).sum()) * 64e-6


def whole(phantom: Phantom) -> bool:
    low, high = phantom.anatomy.patient.coverage
    return low < -170 and high > 115


class TestPlaces:
    def test_liver_is_right_and_spleen_and_stomach_are_left(self, normals: list[tuple[Phantom, Scene]]) -> None:
        for phantom, scene in normals:
            if whole(phantom):
                middle = centroid(scene, structures.SPINE)[0]
                assert centroid(scene, structures.LIVER)[0] > middle + 20
                assert centroid(scene, structures.SPLEEN)[0] < middle - 40
                assert centroid(scene, structures.STOMACH)[0] < middle - 20

    def test_heart_leans_left_and_descending_aorta_lies_left(self, normals: list[tuple[Phantom, Scene]]) -> None:
        for phantom, scene in normals:
            if whole(phantom):
                assert float(scene.x[scene.labels == structures.HEART].mean()) < -5
                assert float(scene.x[scene.labels == structures.AORTA].mean()) < -5

    def test_spine_is_behind_the_heart(self, normals: list[tuple[Phantom, Scene]]) -> None:
        for _, scene in normals:
            assert centroid(scene, structures.SPINE)[1] < centroid(scene, structures.HEART)[1] - 40

    def test_lobes_lie_on_their_side_and_upper_above_lower(self, normals: list[tuple[Phantom, Scene]]) -> None:
        for phantom, scene in normals:
            if not whole(phantom):
                continue
            places = {lobe: centroid(scene, lobe) for lobe in structures.LUNG_LOBES}
            middle = centroid(scene, structures.SPINE)[0]
            assert all((places[lobe][0] < middle) == (lobe <= structures.LEFT_LOWER_LOBE) for lobe in places)
            assert places[structures.LEFT_UPPER_LOBE][2] > places[structures.LEFT_LOWER_LOBE][2]
            assert places[structures.RIGHT_UPPER_LOBE][2] > places[structures.RIGHT_MIDDLE_LOBE][2]
            assert places[structures.RIGHT_MIDDLE_LOBE][1] > places[structures.RIGHT_LOWER_LOBE][1]

    def test_right_dome_is_higher(self, normals: list[tuple[Phantom, Scene]]) -> None:
        heights = []
        for phantom, _ in normals:
            thorax = phantom.anatomy.thorax
            right, left = (float(thorax.diaphragm(torch.tensor(x), torch.tensor(22.0))) for x in (58.0, -64.0))
            heights.append(right - left)
        assert np.mean(heights) > 0


class TestSizes:
    def test_lungs_hold_litres(self, normals: list[tuple[Phantom, Scene]]) -> None:
        volumes = [litres(scene, *structures.LUNG_LOBES) for phantom, scene in normals if whole(phantom)]
        assert all(2.0 < volume < 8.0 for volume in volumes)

    def test_heart_is_as_wide_as_drawn(self, normals: list[tuple[Phantom, Scene]]) -> None:
        for phantom, scene in normals:
            patient = phantom.anatomy.patient
            if not whole(phantom):
                continue
            width = float((scene.labels == structures.HEART).any(dim=2).any(dim=1).sum()) * 4
            expected = patient.heart_ratio * 262 * patient.pose.scale[0]
            assert width == pytest.approx(expected, rel=0.12)
            assert patient.heart_ratio < 0.55

    def test_every_structure_of_a_whole_chest_is_there(self, normals: list[tuple[Phantom, Scene]]) -> None:
        phantom, scene = next((phantom, scene) for phantom, scene in normals if whole(phantom))
        absent = {structures.PLEURAL_EFFUSION, structures.KIDNEYS}
        found = set(scene.labels.unique().tolist()) | absent
        assert found == set(range(len(structures.STRUCTURES))), phantom.seed


class TestIntensities:
    def test_tissues_have_their_hu(self, normals: list[tuple[Phantom, Scene]]) -> None:
        ranges = {
            structures.LIVER: (0, 140),
            structures.HEART: (25, 420),
            structures.AORTA: (30, 420),
            structures.SPINE: (60, 420),
            structures.AIRWAYS: (-1010, -300),
            structures.BACKGROUND: (-1030, -960),
        }
        for _, scene in normals:
            for label, (low, high) in ranges.items():
                voxels = scene.hu[scene.labels == label]
                if len(voxels) > 20:
                    assert low < float(voxels.median()) < high, structures.STRUCTURES[label]
            lungs = torch.isin(scene.labels, torch.tensor(structures.LUNG_LOBES, dtype=torch.uint8))
            assert -925 < float(scene.hu[lungs].median()) < -760

    def test_fat_and_muscle_make_two_peaks(self, normals: list[tuple[Phantom, Scene]]) -> None:
        for _, scene in normals:
            voxels = scene.hu[scene.labels == structures.BODY].numpy()
            counts, edges = np.histogram(voxels, bins=np.arange(-160, 140, 10))
            middles = edges[:-1] + 5
            assert -125 < middles[middles < -40][counts[middles < -40].argmax()] < -70
            assert 20 < middles[middles > 0][counts[middles > 0].argmax()] < 80

    def test_dependent_lung_is_denser(self, normals: list[tuple[Phantom, Scene]]) -> None:
        _, scene = normals[0]
        deep = scene.lung_depth > 12
        back, front = scene.hu[deep & (scene.y < -30)], scene.hu[deep & (scene.y > 20)]
        assert float(back.median()) > float(front.median()) + 8

    def test_contrast_brightens_the_blood(self) -> None:
        phases = {}
        for seed in range(40):
            patient = draw_phantom(seed, present=frozenset()).anatomy.patient
            phases.setdefault(patient.blood.phase, []).append(patient.blood.aorta)
        assert set(phases) == {"unenhanced", "pulmonary", "arterial", "venous"}
        assert max(phases["unenhanced"]) < 60 < min(phases["arterial"])


def test_nothing_is_labelled_outside_the_scanned_range(normals: list[tuple[Phantom, Scene]]) -> None:
    for phantom, scene in normals:
        pose, (low, high) = phantom.anatomy.patient.pose, phantom.anatomy.patient.coverage
        height = (GRID.axes[2] - pose.shift[2]) / pose.scale[2]
        outside = (height < low) | (height > high)
        assert not scene.labels[:, :, outside].any()
        assert (scene.hu[:, :, outside] == -1000).all()


def test_noise_grows_with_the_setting() -> None:
    phantom = draw_phantom(101, present=frozenset())
    quiet = render(phantom, GRID, torch.device("cpu"))
    before = quiet.hu.clone()
    acquire(quiet, phantom.acquisition)
    inside = quiet.labels == structures.LIVER
    assert float((quiet.hu - before)[inside].std()) > 2


def test_lungs_of_real_scans_have_the_same_density(shared_data: Path, normals: list[tuple[Phantom, Scene]]) -> None:
    real = []
    for name in ("imlab_id001", "imlab_id003"):
        folder = shared_data / "lung_masks"
        hu = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{name}_ct.nii.gz")))
        real.append(hu[SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{name}_lung.nii.gz"))) > 0])
    drawn = torch.cat(
        [s.hu[torch.isin(s.labels, torch.tensor(structures.LUNG_LOBES, dtype=torch.uint8))] for _, s in normals]
    )
    for share, tolerance in ((0.25, 45), (0.5, 45), (0.75, 60)):
        assert float(np.quantile(np.concatenate(real), share)) == pytest.approx(
            float(np.quantile(drawn.numpy(), share)), abs=tolerance
        )
