"""Where a phrase that is to become an object is seen: a voxel, not a patch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from chests import chest
from random_bundles import PATCH_SIZE
from random_bundles import SIZE
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.errors import Cancelled
from colipri_core.inference import focus
from colipri_core.inference.local import LocalEngine
from colipri_core.inference.session import LocalSession
from colipri_core.model.bundle import load_bundle
from colipri_core.model.export import save_changed
from colipri_core.preprocess import model_grid
from colipri_core.progress import CancelToken
from colipri_core.prompts.attention import Attention
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_core.volume import Volume
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import generate

READ = (2, 1, 3)
"""The voxel of each patch that the model below reads."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """A model without attention, whose token depends on one voxel of its patch."""
    folder = tmp_path_factory.mktemp("focus")
    with cc.open_engine(save_random_bundle(folder / "local", local=True), device="cpu", cache_dir=folder) as engine:
        assert isinstance(engine, LocalEngine)
        patch = engine._runtime.bundle.model.image_encoder.backbone.down_projection.proj
        weight = torch.zeros_like(patch.weight)
        weight[(slice(None), 0, *READ)] = torch.randn(len(weight), generator=torch.Generator().manual_seed(0))
        patch.weight.data.copy_(weight)
        yield engine


def attention(engine: LocalEngine, volume: Volume) -> Attention:
    with engine.open(volume) as session:
        assert isinstance(session, LocalSession)
        return looked(session, "emphysema")


def looked(session: LocalSession, text: str) -> Attention:
    """Where a model without a phrase head sees a phrase."""
    seen = session._attend(text)
    assert isinstance(seen, Attention)
    return seen


class TestPlaces:
    @pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAR"])
    @pytest.mark.parametrize("most", [focus.MAX_TOKENS, 5])
    def test_is_the_voxel_that_the_answer_depends_on(
        self, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, orientation: str, most: int
    ) -> None:
        monkeypatch.setattr(focus, "MAX_TOKENS", most)
        volume = chest().reoriented(orientation)
        grid = model_grid(volume.geometry, engine._runtime.bundle.spec.preprocessing).final
        seen = attention(engine, volume)
        nearest = np.abs(np.arange(SIZE) % PATCH_SIZE - np.reshape(READ, (3, 1))) == 0
        for position, wanted, spacing in zip(
            grid.world_to_index(seen.places[0]), nearest, volume.geometry.spacing, strict=True
        ):
            off = np.abs(np.flatnonzero(wanted) - position).min() * grid.spacing[0]
            assert off <= max(spacing, 1e-3)

    def test_are_voxels_of_the_volume_apart_from_one_another(self, engine: LocalEngine) -> None:
        volume = chest()
        seen = attention(engine, volume)
        indices = volume.geometry.world_to_index(np.asarray(seen.places))
        np.testing.assert_allclose(indices, np.rint(indices), atol=1e-6)
        assert 1 <= len(set(seen.places)) == len(seen.places) <= 4
        assert seen.influence.shape == seen.geometry.shape

    def test_cancel_ends_it_within_the_encoder(self, engine: LocalEngine) -> None:
        cancel = CancelToken()

        def stop(_: float, message: str) -> None:
            if message == "Looking closer":
                cancel.cancel()

        with engine.open(chest()) as session:
            assert isinstance(session, LocalSession)
            session.classify()
            with pytest.raises(Cancelled):
                session._attend("emphysema", progress=stop, cancel=cancel)
            assert looked(session, "emphysema").places


def test_tiny_without_its_phrase_head_points_into_lesions_and_not_beside_them(tmp_path: Path) -> None:
    grid = PhantomGrid()
    seeds = range(1_000_000, 1_000_006)
    drawn = generate(seeds, grid)
    coarse, fine = [], []
    tiny = load_bundle("tiny")
    spec = dataclasses.replace(tiny.spec, phrases=None, files={})
    save_changed(tiny, tmp_path / "points", spec=spec, overwrite=False, phrase_head=None)
    with cc.open_engine(tmp_path / "points", device="cpu", cache_dir=tmp_path) as engine:
        for hu, lesions, findings in zip(drawn.hu.numpy(), drawn.lesions.numpy(), drawn.findings.numpy(), strict=True):
            with engine.open(Volume(voxels=hu, affine=grid.affine)) as session:
                assert isinstance(session, LocalSession)
                for finding in np.flatnonzero(findings):
                    lesion = np.argwhere((lesions >> finding) & 1)
                    if CT_RATE_CONCEPTS[finding].focal and len(lesion):
                        places = grid.affine[:3, :3] @ lesion.T + grid.affine[:3, 3:]
                        name = CT_RATE_FINDINGS[finding]
                        peaks = session.evidence(name).peak_ras, looked(session, name).places[0]
                        for found, peak in zip((coarse, fine), peaks, strict=True):
                            found.append(float(np.linalg.norm(places - np.reshape(peak, (3, 1)), axis=0).min()))
    near = [float(np.mean(np.asarray(distances) <= 4.0)) for distances in (coarse, fine)]
    assert near[1] >= 0.5
    assert near[1] >= near[0] + 0.2
