"""The 18 findings: each leaves voxels, in the right place, on the stated side, with the right HU."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import structures
from colipri_training.phantoms.generator import Phantom
from colipri_training.phantoms.generator import draw_phantom
from colipri_training.phantoms.generator import render
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.scene import Scene

GRID = PhantomGrid()
LOBES = torch.tensor(structures.LUNG_LOBES, dtype=torch.uint8)


@cache
def example(finding: int, skip: int = 0) -> tuple[Phantom, Scene]:
    """A phantom with one finding that lies in the scanned range."""
    seeds = (seed for seed in range(300 + 40 * finding, 340 + 40 * finding))
    found = (phantom for seed in seeds if (phantom := draw_phantom(seed, present=frozenset({finding}))).models)
    for _ in range(skip):
        next(found)
    phantom = next(found)
    return phantom, render(phantom, GRID, torch.device("cpu"))


def bits(scene: Scene, finding: int) -> torch.Tensor:
    return ((scene.lesions >> finding) & 1).bool()


def share_in_lungs(scene: Scene, mask: torch.Tensor) -> float:
    return float(torch.isin(scene.labels[mask], LOBES).float().mean())


@pytest.mark.parametrize("finding", range(18))
def test_a_finding_leaves_voxels_and_only_its_own_bit(finding: int) -> None:
    phantom, scene = example(finding)
    assert bits(scene, finding).sum() >= 2
    assert (scene.lesions & ~(1 << finding)).eq(0).all()
    assert [model.lesion.finding for model in phantom.models] == [finding]


@pytest.mark.parametrize("seed", range(400, 406))
def test_what_is_recorded_has_voxels_in_mixed_cases(seed: int) -> None:
    phantom = draw_phantom(seed)
    scene = render(phantom, GRID, torch.device("cpu"))
    for model in phantom.models:
        assert bits(scene, model.finding).any(), model.lesion
    recorded = {model.finding for model in phantom.models}
    assert not any(bits(scene, finding).any() for finding in set(range(18)) - recorded)


@pytest.mark.parametrize(
    "finding",
    [
        base.EMPHYSEMA,
        base.ATELECTASIS,
        base.LUNG_NODULE,
        base.LUNG_OPACITY,
        base.FIBROTIC_SEQUELA,
        base.MOSAIC_ATTENUATION,
        base.PERIBRONCHIAL_THICKENING,
        base.CONSOLIDATION,
        base.BRONCHIECTASIS,
        base.SEPTAL_THICKENING,
    ],
)
def test_lung_findings_lie_in_the_lungs(finding: int) -> None:
    _, scene = example(finding)
    assert share_in_lungs(scene, bits(scene, finding)) > 0.75


def test_nodules_are_where_and_as_large_as_recorded() -> None:
    phantom, scene = example(base.LUNG_NODULE)
    lesion = phantom.models[0].lesion
    voxel = np.round(np.linalg.inv(GRID.affine) @ [*lesion.centroid_ras, 1])[:3].astype(int)
    assert bits(scene, base.LUNG_NODULE)[tuple(voxel)]
    assert structures.STRUCTURES[int(scene.labels[tuple(voxel)])] in lesion.location or "lungs" in lesion.location
    assert 5 <= lesion.size_mm <= 30


@pytest.mark.parametrize("skip", range(3))
def test_effusion_is_dependent_fluid_on_the_stated_side(skip: int) -> None:
    phantom, scene = example(base.PLEURAL_EFFUSION, skip)
    mask = bits(scene, base.PLEURAL_EFFUSION)
    lesion = phantom.models[0].lesion
    right, left = int((mask & (scene.x > 0)).sum()), int((mask & (scene.x < 0)).sum())
    assert (right > 0) == (lesion.side in {"right", "bilateral"})
    assert (left > 0) == (lesion.side in {"left", "bilateral"})
    assert float(scene.y[mask].mean()) < -35
    assert (scene.labels[mask] == structures.PLEURAL_EFFUSION).float().mean() > 0.8
    assert -30 < float(scene.hu[mask].median()) < 45


def test_aortic_plaques_lie_on_the_aorta_and_are_dense() -> None:
    phantom, scene = example(base.ARTERIAL_CALCIFICATION)
    mask = bits(scene, base.ARTERIAL_CALCIFICATION)
    course, radii = phantom.anatomy.vessels.aorta()
    places = phantom.anatomy.patient.pose.to_world(course)
    world = (GRID.affine[:3, :3] @ mask.nonzero().double().numpy().T).T + GRID.affine[:3, 3]
    distance = np.linalg.norm(world[:, None] - places[None], axis=2)
    nearest = distance.argmin(axis=1)
    assert (np.abs(distance.min(axis=1) - radii[nearest]) < 8).mean() > 0.9
    assert float(scene.hu[mask].max()) > 180


def test_coronary_plaques_lie_on_the_surface_of_the_heart() -> None:
    phantom, scene = example(base.CORONARY_CALCIFICATION)
    mask = bits(scene, base.CORONARY_CALCIFICATION)
    z = scene.z.expand(GRID.shape)
    depth = phantom.anatomy.heart.depth(scene.x[mask], scene.y[mask], z[mask])
    assert float(depth.abs().max()) < 10


def test_cardiomegaly_is_the_heart_and_wider_than_normal() -> None:
    phantom, scene = example(base.CARDIOMEGALY)
    assert torch.equal(bits(scene, base.CARDIOMEGALY), scene.labels == structures.HEART)
    assert phantom.anatomy.patient.heart_ratio > 0.55


def test_pericardial_effusion_surrounds_the_heart() -> None:
    phantom, scene = example(base.PERICARDIAL_EFFUSION)
    mask = bits(scene, base.PERICARDIAL_EFFUSION)
    z = scene.z.expand(GRID.shape)
    depth = phantom.anatomy.heart.depth(scene.x[mask], scene.y[mask], z[mask])
    assert float(depth.max()) <= 0
    assert float(depth.min()) > -phantom.anatomy.patient.sac_mm - 6


def test_hernia_lies_behind_the_heart_and_is_stomach() -> None:
    phantom, scene = example(base.HIATAL_HERNIA)
    mask = bits(scene, base.HIATAL_HERNIA)
    assert (scene.labels[mask] == structures.STOMACH).float().mean() > 0.8
    assert float(scene.y[mask].mean()) < phantom.anatomy.heart.centre[1] - 25


def test_nodes_are_soft_tissue_outside_airways_and_vessels() -> None:
    _, scene = example(base.LYMPHADENOPATHY)
    mask = bits(scene, base.LYMPHADENOPATHY)
    assert (scene.labels[mask] == structures.BODY).float().mean() > 0.9


def test_densities_tell_airspace_findings_apart() -> None:
    medians = {
        finding: float(example(finding)[1].hu[bits(example(finding)[1], finding)].median())
        for finding in (base.LUNG_OPACITY, base.CONSOLIDATION, base.EMPHYSEMA)
    }
    assert medians[base.EMPHYSEMA] < -800
    assert -700 < medians[base.LUNG_OPACITY] < -280
    assert -120 < medians[base.CONSOLIDATION] < 130


def test_emphysema_lowers_the_density_of_its_lung() -> None:
    phantom, scene = example(base.EMPHYSEMA)
    plain = render(draw_phantom(phantom.seed, present=frozenset()), GRID, torch.device("cpu"))
    mask = bits(scene, base.EMPHYSEMA)
    assert float(scene.hu[mask].mean()) < float(plain.hu[mask].mean()) - 15


def test_mosaic_widens_the_spread_of_lung_density() -> None:
    phantom, scene = example(base.MOSAIC_ATTENUATION)
    plain = render(draw_phantom(phantom.seed, present=frozenset()), GRID, torch.device("cpu"))
    deep = bits(scene, base.MOSAIC_ATTENUATION) & (scene.lung_depth > 10)
    spread = [float(s.hu[deep].quantile(0.75) - s.hu[deep].quantile(0.25)) for s in (scene, plain)]
    assert spread[0] > spread[1] + 60


def test_medical_material_is_brighter_than_bone() -> None:
    brightest = [float(example(base.MEDICAL_MATERIAL, skip)[1].hu.max()) for skip in range(3)]
    assert max(brightest) > 1000
