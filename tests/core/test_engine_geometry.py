"""Answers belong to places in the patient: they do not depend on how voxels are stored, and peaks are not displaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from chests import ORIENTATIONS
from chests import chest
from random_bundles import PATCH_SIZE
from random_bundles import save_random_bundle

from colipri_core.engine import open_engine
from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.local import LocalEngine
from colipri_core.preprocess import model_grid
from colipri_core.preprocess import token_geometry
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.volume import Volume


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("geometry")
    with open_engine(save_random_bundle(folder / "random"), device="cpu", cache_dir=folder / "cache") as engine:
        yield engine


@pytest.fixture(scope="module")
def local_engine(tmp_path_factory: pytest.TempPathFactory):
    """A model without attention: each token tells of its own patch only, so what it sees has a known place."""
    folder = tmp_path_factory.mktemp("local")
    path = save_random_bundle(folder / "local", local=True)
    with open_engine(path, device="cpu", cache_dir=folder / "cache") as engine:
        yield engine


def probabilities(engine: LocalEngine, volume: Volume) -> list[float]:
    with engine.open(volume) as session:
        return [finding.probability for finding in session.classify()]


def wide_geometry(
    spacing: tuple[float, float, float], *, degrees: float = 0.0, orientation: str = "RAS"
) -> VolumeGeometry:
    """A grid that fills the model's field of view (384 mm), turned about the head-foot axis as in an oblique scan."""
    angle = np.deg2rad(degrees)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-150.0, -90.0, -400.0)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    i, j, k = (round(410.0 / step) for step in spacing)
    return VolumeGeometry(shape=(i, j, k), affine=rotation @ affine).reoriented(orientation)


class TestStorage:
    @pytest.mark.parametrize("orientation", ORIENTATIONS[1::6])
    def test_permuted_and_flipped_voxels_give_the_same_probabilities(self, engine, orientation: str) -> None:
        expected = probabilities(engine, chest())
        found = probabilities(engine, chest().reoriented(orientation))
        assert np.abs(np.subtract(found, expected)).max() < 1e-4

    @pytest.mark.parametrize("orientation", ["LPS", "SAR", "IPL"])
    def test_labelmaps_and_maps_turn_with_the_voxels(self, engine, orientation: str) -> None:
        with engine.open(chest()) as session:
            labels, values = session.segment().labelmap, session.evidence("emphysema").values
        with engine.open(chest().reoriented(orientation)) as session:
            segmentation, evidence = session.segment(), session.evidence("emphysema")
        back = Volume(voxels=segmentation.labelmap, affine=segmentation.geometry.affine).reoriented("RAS")
        assert (back.voxels == labels).mean() > 0.999
        back = Volume(voxels=evidence.values, affine=evidence.geometry.affine).reoriented("RAS")
        np.testing.assert_allclose(back.voxels, values, atol=1e-4)

    def test_a_moved_patient_gets_the_same_answers_elsewhere(self, engine) -> None:
        volume = chest()
        affine = volume.affine.copy()
        affine[:3, 3] += (37.5, -81.0, 1000.0)
        moved = Volume(voxels=volume.voxels, affine=affine, name="moved")
        assert probabilities(engine, moved) == pytest.approx(probabilities(engine, volume), abs=1e-5)
        with engine.open(volume) as here, engine.open(moved) as there:
            shift = there.evidence("emphysema").peak_ras - here.evidence("emphysema").peak_ras
        assert shift == pytest.approx([37.5, -81.0, 1000.0], abs=1e-6)


def with_landmark(
    geometry: VolumeGeometry, spec: PreprocessSpec, token: tuple[int, int, int]
) -> tuple[Volume, np.ndarray]:
    """A block of water with a dense cube that fills exactly one token, and the world position of its centre."""
    grid = token_geometry(model_grid(geometry, spec).final, PATCH_SIZE)
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in geometry.shape), indexing="ij"), axis=-1)
    nearest = np.rint(grid.world_to_index(geometry.index_to_world(indices)))
    voxels = np.where((nearest == token).all(axis=-1), 900, 20).astype(np.int16)
    return Volume(voxels=voxels, affine=geometry.affine, name="landmark"), grid.index_to_world(token)


GEOMETRIES = {
    "axis aligned": wide_geometry((5.0, 5.0, 5.0)),
    "permuted and flipped": wide_geometry((5.0, 4.0, 6.0), orientation="IPR"),
    "oblique": wide_geometry((4.0, 5.0, 6.0), degrees=25.0),
}


class TestPeak:
    @pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
    @pytest.mark.parametrize("token", [(4, 5, 6), (7, 7, 4)])
    def test_it_lies_where_the_patch_is(
        self, local_engine, geometry: VolumeGeometry, token: tuple[int, int, int]
    ) -> None:
        spec = local_engine._runtime.bundle.spec.preprocessing
        volume, centre = with_landmark(geometry, spec, token)
        with local_engine.open(volume) as session:
            sides = [session.evidence("emphysema"), session.evidence("no emphysema")]
        contrast = [side.peak_value - np.nanmedian(side.values) for side in sides]
        found = sides[int(np.argmax(contrast))]
        assert max(contrast) > 1e-3
        miss = volume.geometry.world_to_index(found.peak_ras) - volume.geometry.world_to_index(centre)
        assert np.abs(miss).max() <= 0.51


class TestStructures:
    def test_outlines_follow_the_head(self, tmp_path: Path) -> None:
        """A head that calls dense voxels "Heart" must outline the dense cube, at its place and size."""
        with open_engine(save_random_bundle(tmp_path / "dense"), device="cpu", cache_dir=tmp_path / "cache") as engine:
            spec = engine._runtime.bundle.spec.preprocessing
            volume, centre = with_landmark(GEOMETRIES["oblique"], spec, (5, 5, 5))
            object.__setattr__(engine._runtime.bundle, "structure_head", _Dense())
            with engine.open(volume) as session:
                found = session.segment()
        heart = found.labelmap == 3
        truth = volume.voxels > 400
        dice = 2 * (heart & truth).sum() / (heart.sum() + truth.sum())
        assert dice > 0.9
        middle = volume.geometry.index_to_world(np.argwhere(heart)).mean(axis=0)
        assert np.linalg.norm(middle - centre) < 3.0
        assert found.volumes_ml()["Heart"] == pytest.approx(32.0**3 / 1000, rel=0.15)


class _Dense(torch.nn.Module):
    """Logits (1, 4, X, Y, Z): the third structure where intensities exceed 0.42 (420 HU), background elsewhere."""

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        heart = 8.0 * (images[:, 0] - 0.42)
        nothing = torch.full_like(heart, -9.0)
        return torch.stack([-heart, nothing, nothing, heart], dim=1)
