"""The generator: from a seed to a patient, its lesions, its report and its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from colipri_training.phantoms.acquisition import Acquisition
from colipri_training.phantoms.acquisition import acquire
from colipri_training.phantoms.acquisition import draw_acquisition
from colipri_training.phantoms.anatomy import abdomen
from colipri_training.phantoms.anatomy import body
from colipri_training.phantoms.anatomy import bones
from colipri_training.phantoms.anatomy import lungs
from colipri_training.phantoms.anatomy import mediastinum
from colipri_training.phantoms.anatomy.heart import Heart
from colipri_training.phantoms.anatomy.thorax import Thorax
from colipri_training.phantoms.case import PhantomCase
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.grid import PhantomGrid
from colipri_training.phantoms.lesions import base
from colipri_training.phantoms.lesions import draw_lesions
from colipri_training.phantoms.lesions.airways import NORMAL_WALL_MM
from colipri_training.phantoms.lesions.base import DrawContext
from colipri_training.phantoms.lesions.base import LesionModel
from colipri_training.phantoms.patient import draw_patient
from colipri_training.phantoms.prevalence import draw_presence
from colipri_training.phantoms.report import write_report
from colipri_training.phantoms.scene import Scene

_COVERAGE_MARGIN_MM = 12.0
NUM_FINDINGS = 18


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """One drawn patient with lesions and scanner settings; independent of any grid."""

    seed: int
    anatomy: base.Anatomy
    acquisition: Acquisition
    models: list[LesionModel]


@dataclass(frozen=True, kw_only=True)
class PhantomBatch:
    """Rendered phantoms.

    Attributes:
        hu: (B, X, Y, Z) float32.
        labels: (B, X, Y, Z) uint8, see `structures`.
        lesions: (B, X, Y, Z) int32, bit f set where finding f is.
        findings: (B, 18) bool, CT-RATE order.
        cases: The records and reports, one per phantom.
    """

    hu: Tensor
    labels: Tensor
    lesions: Tensor
    findings: Tensor
    cases: list[PhantomCase]


def draw_phantom(seed: int, *, present: frozenset[int] | None = None) -> Phantom:
    """Draw the phantom of a seed.

    Args:
        seed: Any non-negative integer; see `case.split_of` for the split it belongs to.
        present: Findings to draw instead of random ones; the anatomy they do not touch stays the same.
    """
    wanted = draw_presence(seed) if present is None else present
    rng = stream(seed, "plan")
    sac = float(rng.uniform(7, 22))
    side = str(rng.choice(["left", "right"]))
    collapse = side if base.ATELECTASIS in wanted and rng.random() < 0.35 else ""
    patient = draw_patient(
        seed,
        cardiomegaly=base.CARDIOMEGALY in wanted,
        sac_mm=sac if base.PERICARDIAL_EFFUSION in wanted else 0.0,
        collapse_side=collapse,
    )
    heart = Heart(patient)
    thorax = Thorax(patient, heart)
    points = lungs.sample_points(seed, thorax)
    anatomy = base.Anatomy(
        patient=patient,
        heart=heart,
        thorax=thorax,
        vessels=mediastinum.GreatVessels(seed, heart, patient.age),
        points=points,
        trees=lungs.grow_trees(seed, points),
    )
    context = DrawContext(seed=seed, anatomy=anatomy, present=wanted, collapse_side=collapse)
    acquisition = draw_acquisition(seed, dense_veins=patient.blood.phase in {"pulmonary", "arterial"})
    models = [model for model in draw_lesions(context) if _is_scanned(model, anatomy, acquisition)]
    return Phantom(seed=seed, anatomy=anatomy, acquisition=acquisition, models=models)


def _is_scanned(model: LesionModel, anatomy: base.Anatomy, acquisition: Acquisition) -> bool:
    """Return whether the middle of a lesion lies well inside what is scanned; what is not seen is not reported."""
    pose, (low, high) = anatomy.patient.pose, anatomy.patient.coverage
    x, y, z = model.lesion.centroid_ras
    height = pose.canonical_z(z)
    offset = float(np.hypot(x - pose.shift[0], y - pose.shift[1]))
    in_range = low + _COVERAGE_MARGIN_MM < height < high - _COVERAGE_MARGIN_MM
    return in_range and offset < acquisition.fov_mm - _COVERAGE_MARGIN_MM


def render(phantom: Phantom, grid: PhantomGrid, device: torch.device) -> Scene:
    """Paint a phantom on a grid and scan it."""
    anatomy = phantom.anatomy
    scene = Scene(anatomy.patient, grid, device)
    body.paint_body(scene, anatomy.thorax)
    body.paint_arms(scene)
    body.paint_glands(scene)
    body.paint_table(scene)
    abdomen.Abdomen(scene, anatomy.thorax).paint()
    bones.paint_spine(scene)
    bones.paint_ribs(scene)
    bones.paint_front(scene)
    bones.paint_scapulae(scene)
    _paint_chest(scene, phantom)
    acquire(scene, phantom.acquisition)
    return scene


def _paint_chest(scene: Scene, phantom: Phantom) -> None:
    """Paint the contents of the chest, lesions included."""
    anatomy = phantom.anatomy
    box = lungs.find_lungs(scene, anatomy.thorax)
    for model in phantom.models:
        model.shape(scene)
    lungs.paint_parenchyma(scene, anatomy.thorax, box)
    for model in phantom.models:
        model.parenchyma(scene)
    lungs.paint_vessels(scene, anatomy.trees)
    lungs.paint_bronchi(scene, anatomy.trees.bronchi, NORMAL_WALL_MM)
    mediastinum.paint_oesophagus(scene)
    anatomy.heart.paint(scene, base.PERICARDIAL_EFFUSION)
    anatomy.vessels.paint(scene, anatomy.heart)
    mediastinum.paint_airways(scene, 1.4)
    for model in phantom.models:
        model.paint(scene)


def generate(seeds: Sequence[int], grid: PhantomGrid | None = None, device: str | torch.device = "cpu") -> PhantomBatch:
    """Generate one phantom per seed; a phantom depends on its own seed alone, never on the batch.

    Args:
        seeds: Seeds; the same seed on another grid is the same patient.
        grid: Where to evaluate; 96 x 96 x 96 voxels of 4 mm if omitted.
        device: Where the tensors live.
    """
    if not len(seeds):
        msg = "generate needs at least one seed, got none"
        raise ValueError(msg)
    grid = grid or PhantomGrid()
    target = torch.device(device)
    scenes, cases = [], []
    for seed in seeds:
        phantom = draw_phantom(int(seed))
        scenes.append(render(phantom, grid, target))
        cases.append(describe(phantom, grid))
    findings = torch.zeros(len(cases), NUM_FINDINGS, dtype=torch.bool)
    for row, case in enumerate(cases):
        findings[row, sorted(case.present)] = True
    return PhantomBatch(
        hu=torch.stack([scene.hu for scene in scenes]),
        labels=torch.stack([scene.labels for scene in scenes]),
        lesions=torch.stack([scene.lesions for scene in scenes]),
        findings=findings.to(target),
        cases=cases,
    )


def describe(phantom: Phantom, grid: PhantomGrid) -> PhantomCase:
    """Return the record of a phantom: its lesions and its report."""
    lesions = [model.lesion for model in phantom.models]
    report, sentences = write_report(
        phantom.seed, lesions, enhanced=phantom.anatomy.patient.blood.phase != "unenhanced"
    )
    return PhantomCase(seed=phantom.seed, affine=grid.affine, lesions=lesions, report=report, sentences=sentences)


def generate_case(seed: int, grid: PhantomGrid | None = None) -> tuple[Tensor, Tensor, Tensor, PhantomCase]:
    """Generate one phantom; returns HU, labels and lesion bits as (X, Y, Z) tensors, and the record."""
    batch = generate([seed], grid)
    return batch.hu[0], batch.labels[0], batch.lesions[0], batch.cases[0]
