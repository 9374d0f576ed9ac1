"""What outlines a phrase: the head's bundle, the way from the model's grid to the volume's, and a session that asks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from random_bundles import bright_phrases
from random_bundles import config
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.editing.edits import Paint
from colipri_core.errors import BundleError
from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.phrase_outline import bordered
from colipri_core.inference.phrase_outline import painted
from colipri_core.model.bundle import load_bundle
from colipri_core.model.export import save_bundle
from colipri_core.model.phrase_head import PhraseHeadConfig
from colipri_core.prompts import Crop
from colipri_core.prompts import Point

GRID = VolumeGeometry(shape=(16, 16, 16), affine=np.diag([4.0, 4.0, 4.0, 1.0]))


def oblique(*, flipped: bool = False) -> VolumeGeometry:
    """A grid of another spacing, turned about two axes around the middle of the model's."""
    a, b = np.deg2rad(25), np.deg2rad(-15)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    spacing = np.array([-1.5 if flipped else 1.5, 1.0, 2.5])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    shape = (44, 60, 26)
    affine[:3, 3] = 30.0 - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return VolumeGeometry(shape=shape, affine=affine)


def ball(centre: tuple[float, float, float], radius: float, grid: VolumeGeometry) -> np.ndarray:
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)
    return np.linalg.norm(grid.index_to_world(indices) - np.asarray(centre), axis=-1) <= radius


def even(geometry: VolumeGeometry) -> cc.Volume:
    """A volume that shows nothing."""
    return cc.Volume(voxels=np.zeros(geometry.shape, dtype=np.int16), affine=geometry.affine)


class TestPainting:
    @pytest.mark.parametrize("flipped", [False, True])
    def test_parts_lie_where_they_are_in_the_world(self, *, flipped: bool) -> None:
        source = oblique(flipped=flipped)
        places = [((22.0, 26.0, 30.0), 9.0), ((40.0, 38.0, 34.0), 7.0)]
        seen = np.any([ball(centre, radius, GRID) for centre, radius in places], axis=0)
        wanted = np.any([ball(centre, radius, source) for centre, radius in places], axis=0)
        found = painted(seen.astype(np.float32), GRID, even(source)).on_grid(source.shape)
        assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.85

    def test_nothing_seen_or_nothing_in_the_volume_is_empty(self) -> None:
        assert painted(np.full(GRID.shape, 0.5, np.float32), GRID, even(oblique())).is_empty
        far = VolumeGeometry(shape=(8, 8, 8), affine=np.diag([1.0, 1, 1, 1]) + np.outer([500, 0, 0, 0], [0, 0, 0, 1]))
        assert painted(np.ones(GRID.shape, np.float32), GRID, even(far)).is_empty

    def test_a_part_at_the_edge_of_the_volume_is_cut_there(self) -> None:
        seen = np.zeros(GRID.shape, np.float32)
        seen[:, 4:9, 4:9] = 1.0
        small = VolumeGeometry(shape=(10, 40, 40), affine=np.diag([1.0, 1.0, 1.0, 1.0]))
        found = painted(seen, GRID, even(small))
        assert (found.lower[0], found.upper[0]) == (0, 10)

    @pytest.mark.parametrize("flipped", [False, True])
    def test_the_border_is_that_of_the_image_where_it_shows_one(self, *, flipped: bool) -> None:
        source = oblique(flipped=flipped)
        lesion = ball((30.0, 31.0, 29.0), 6.0, source)
        rng = np.random.default_rng(0)
        hu = np.where(lesion, 40, -850) + rng.normal(0, 30, source.shape)
        volume = cc.Volume(voxels=hu.astype(np.int16), affine=source.affine)
        seen = ball((33.0, 29.0, 30.0), 7.0, GRID).astype(np.float32) * 0.8
        blurred, sharp = (painted(seen, GRID, each).on_grid(source.shape) for each in (even(source), volume))
        first, then = (2 * (found & lesion).sum() / (found.sum() + lesion.sum()) for found in (blurred, sharp))
        assert first < 0.75
        assert then > 0.85

    def test_intensities_decide_nothing_where_the_map_is_sure_of_it(self) -> None:
        prior = np.zeros((9, 9, 9), np.float32)
        prior[2:7, 2:7, 2:7] = 1.0
        hu = np.full(prior.shape, -900.0, np.float32)
        hu[2:7, 2:7, 2:7] = 0.0
        hu[0] = 0.0
        assert np.array_equal(bordered(prior, hu), prior > 0)


class TestHead:
    def test_a_phrase_counts_by_its_direction_alone(self) -> None:
        head = bright_phrases()
        vectors = head(torch.randn(2, 1, 16, 16, 16), torch.randn(2, 24, 4, 4, 4))
        phrases = torch.randn(2, 3, 24)
        dense = torch.nn.functional.normalize(torch.randn(2, 24, 4, 4, 4), dim=1)
        once, again = head.answer(vectors, dense, phrases), head.answer(vectors, dense, 7 * phrases)
        assert once.shape == (2, 3, 16, 16, 16)
        torch.testing.assert_close(once, again)
        torch.testing.assert_close(head.answer(vectors, dense, phrases[:, 1:2]), once[:, 1:2])

    def test_survives_its_bundle(self, tmp_path: Path) -> None:
        folder = save_random_bundle(tmp_path / "with", outlines=True)
        head, again = bright_phrases(), load_bundle(folder).phrase_head
        assert again is not None
        assert all(torch.equal(value, head.state_dict()[name]) for name, value in again.state_dict().items())
        assert load_bundle(save_random_bundle(tmp_path / "without")).phrase_head is None

    def test_a_head_for_another_encoder_is_refused(self, tmp_path: Path) -> None:
        folder = save_random_bundle(tmp_path / "b", outlines=True)
        document = json.loads((folder / "spec.json").read_text())
        document["phrases"]["token_width"] = 99
        (folder / "spec.json").write_text(json.dumps(document))
        with pytest.raises(BundleError, match=r"phrase head for .* \(24, 4, 24\).*token_width=99"):
            _ = load_bundle(folder).phrase_head
        document["phrases"]["colour"] = 1
        (folder / "spec.json").write_text(json.dumps(document))
        with pytest.raises(BundleError, match="colour"):
            _ = load_bundle(folder).phrase_head

    def test_spec_and_head_must_belong_together(self, tmp_path: Path) -> None:
        bundle = load_bundle(save_random_bundle(tmp_path / "b", structures=False))
        parts = {"model": bundle.model, "tokenizer": bundle.tokenizer}
        with pytest.raises(ValueError, match=r"spec\.phrases"):
            save_bundle(tmp_path / "c", spec=bundle.spec, phrase_head=bright_phrases(), **parts)
        spec = dataclasses.replace(bundle.spec, phrases=bright_phrases().config.to_json())
        with pytest.raises(ValueError, match=r"spec\.phrases"):
            save_bundle(tmp_path / "c", spec=spec, **parts)

    def test_no_decoder_halves_its_way_to_odd_patches(self) -> None:
        with pytest.raises(ValueError, match="power of two"):
            PhraseHeadConfig(token_width=config().image.width, patch_size=6, embed_dim=24, channels=4, width=4)


class TestSession:
    @pytest.fixture
    def volume(self) -> cc.Volume:
        voxels = np.full((40, 40, 40), -1000, dtype=np.int16)
        voxels[12:24, 10:26, 14:24] = 0
        return cc.Volume(voxels=voxels, affine=np.diag([-8.0, -8.0, 8.0, 1.0]))

    def test_a_phrase_outlines_what_the_head_sees(self, tmp_path: Path, volume: cc.Volume) -> None:
        model = save_random_bundle(tmp_path / "b", outlines=True)
        with cc.open_engine(model, cache_dir=tmp_path / "cache") as engine, engine.open(volume) as session:
            session.prompt(cc.Phrase(text="lung nodule"))
            found, wanted = session.segmentation.labelmap > 0, volume.voxels > -500
            assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.7
            assert session.segmentation.provenance.model == engine.card
            session.undo()
            assert not (session.segmentation.labelmap > 0).any()

    def test_a_phrase_is_added_to_what_was_drawn(self, tmp_path: Path, volume: cc.Volume) -> None:
        model = save_random_bundle(tmp_path / "b", outlines=True)
        with cc.open_engine(model, cache_dir=tmp_path / "cache") as engine, engine.open(volume) as session:
            session.prompt(cc.Phrase(text="lung nodule"))
            outlined = session.segmentation.labelmap > 0
            session.undo()
            drawn = np.zeros(volume.shape, dtype=bool)
            drawn[30:34, 30:34, 30:34] = True
            session.edit(Paint(voxels=Crop.around(drawn), label=1))
            session.prompt(cc.Phrase(text="lung nodule"))
            assert np.array_equal(session.segmentation.labelmap > 0, outlined | drawn)

    def test_clicks_go_on_from_it(self, tmp_path: Path, volume: cc.Volume) -> None:
        model = save_random_bundle(tmp_path / "b", outlines=True)
        with cc.open_engine(model, cache_dir=tmp_path / "cache") as engine, engine.open(volume) as session:
            session.prompt(cc.Phrase(text="lung nodule"))
            before = session.segmentation.labelmap > 0
            place = tuple(volume.geometry.index_to_world((14, 12, 16)))
            session.prompt(Point(ras=place, positive=False))
            after = session.segmentation.labelmap > 0
            assert before[14, 12, 16]
            assert not after[14, 12, 16]
            assert not (after & ~before).any()

    def test_a_click_beside_the_phrase_needs_no_other_look_at_the_words(
        self, tmp_path: Path, volume: cc.Volume
    ) -> None:
        model = save_random_bundle(tmp_path / "b", outlines=True)
        said: list[str] = []
        edits, place = tmp_path / "edits", tuple(volume.geometry.index_to_world((14, 12, 16)))
        with (
            cc.open_engine(model, cache_dir=tmp_path / "cache") as engine,
            engine.open(volume, autosave=edits) as session,
        ):
            session.prompt(cc.Phrase(text="lung nodule"))
        with (
            cc.open_engine(model, cache_dir=tmp_path / "cold") as engine,
            engine.open(volume, autosave=edits) as session,
        ):
            session.prompt(Point(ras=place), progress=lambda _, message: said.append(message))
            assert not any("Encoding" in message for message in said)
            session.prompt(cc.Phrase(text="lung nodule"), progress=lambda _, message: said.append(message))
            assert any("Encoding" in message for message in said)
