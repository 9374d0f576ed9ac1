"""What every engine gives a case store: vectors of volumes, of their parts and of texts, in one space."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from chests import chest
from random_bundles import save_random_bundle
from support.places import PLACES
from support.places import placed

from colipri_core.cases import CaseFilter
from colipri_core.cases import CaseSource
from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.errors import StoreModelError
from colipri_core.index import open_store
from colipri_core.index.add import encode_volume
from colipri_core.vocabulary.wordings import wording

VOLUME = chest().reoriented("LPS")


@dataclasses.dataclass
class Part:
    """A box of a volume."""

    lower: tuple[int, int, int]
    mask: np.ndarray


@pytest.fixture(scope="module", params=PLACES)
def local(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """An engine whose tokens tell of the intensity of their own patch, and of nothing else."""
    folder = tmp_path_factory.mktemp("local")
    bundle = save_random_bundle(folder / "local", local=True)
    with (
        open_engine(bundle, device="cpu", cache_dir=folder / "cache") as inner,
        placed(inner, request.param) as engine,
    ):
        yield engine


class TestVolumes:
    def test_the_whole_is_one_unit_vector_with_its_origin(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            whole, again = session.embedding(), session.embedding()
        assert whole.vector.dtype == np.float32
        assert np.linalg.norm(whole.vector) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(whole.vector, again.vector)
        assert whole.provenance.model == engine.card

    def test_it_ranks_as_classify_does(self, engine: Engine) -> None:
        """The product with a contrasted text is what a probability is made of."""
        names = ["Emphysema", "small nodule", "No pleural effusion"]
        with engine.open(VOLUME) as session:
            whole, findings = session.embedding(), session.classify(names)
        products = [float(text.vector @ whole.vector) for text in engine.embed_texts(names, contrast=True)]
        assert [product > 0 for product in products] == [finding.probability > 0.5 for finding in findings]

    def test_an_empty_region_and_one_out_of_sight_are_refused(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            with pytest.raises(ValueError, match="no voxel"):
                session.embedding(Part(lower=(1, 1, 1), mask=np.zeros((2, 2, 2), dtype=bool)))
            with pytest.raises(ValueError, match="outside"):
                session.embedding(Part(lower=(90_000, 0, 0), mask=np.ones((2, 2, 2), dtype=bool)))


class TestRegions:
    def test_a_region_is_where_it_is_drawn_whatever_the_axes(self, local: Engine) -> None:
        """The vector of a block of bone in a volume of any orientation is that of the same block in another."""
        voxels = chest().voxels.copy()
        voxels[30:36, 8:14, 20:25] = 900
        vectors = []
        for orientation in ("RAS", "LPS", "SPL"):
            volume = chest().replace_voxels(voxels).reoriented(orientation)
            where = np.argwhere(volume.voxels == 900)
            lower, upper = where.min(axis=0), where.max(axis=0) + 1
            with local.open(volume) as session:
                vectors.append(session.embedding(Part(tuple(lower), np.ones(upper - lower, dtype=bool))).vector)
                elsewhere = session.embedding(Part((2, 2, 2), np.ones((4, 4, 4), dtype=bool))).vector
        assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)
        assert vectors[0] @ vectors[2] == pytest.approx(1, abs=1e-5)
        assert vectors[0] @ elsewhere < 0.9

    def test_cells_lie_in_the_body_and_zones_in_the_lungs(self, local: Engine) -> None:
        with local.open(VOLUME) as session:
            regions = session.regions()
        cells = [region for region in regions if not region.name]
        zones = {region.name: region for region in regions if region.name}
        sides = {f"{side} {zone} lung zone" for side in ("Right", "Left") for zone in ("upper", "middle", "lower")}
        assert set(zones) == sides
        assert len(cells) > 50
        assert all(np.linalg.norm(region.vector) == pytest.approx(1, abs=1e-5) for region in regions)
        center = VOLUME.geometry.center
        assert zones["Right middle lung zone"].center_ras[0] > center[0] + 20
        assert zones["Left middle lung zone"].center_ras[0] < center[0] - 20
        heights = [zones[f"Left {zone} lung zone"].center_ras[2] for zone in ("lower", "middle", "upper")]
        assert heights == sorted(heights)
        inside = [VOLUME.geometry.contains(region.center_ras) for region in cells]
        assert all(inside)

    def test_a_lesion_is_found_in_the_case_that_has_one_elsewhere(self, local: Engine, tmp_path: Path) -> None:
        store = open_store(tmp_path / "store", "w")
        plain = chest()
        lesion = plain.voxels.copy()
        lesion[30:36, 8:14, 20:25] = 900
        for name, voxels in (("plain", plain.voxels), ("lesion", lesion), ("noise", chest(seed=3).voxels)):
            source = CaseSource(case=name, path=name, tags=("test",))
            store.add([encode_volume(local, source, plain.replace_voxels(voxels))])
        here = chest(seed=7).voxels.copy()
        here[12:18, 20:26, 10:15] = 900
        with local.open(plain.replace_voxels(here)) as session:
            part = Part((12, 20, 10), np.ones((6, 6, 5), dtype=bool))
            matches = session.similar(store, 3, region=part, where=CaseFilter(tag="test"))
            assert session.similar(store, 3, where=CaseFilter(tag="other")) == []

        assert matches[0].case == "lesion"
        there = plain.geometry.index_to_world((32.5, 10.5, 22.0))
        assert np.abs(np.asarray(matches[0].place.center_ras) - there).max() <= 32


class TestTexts:
    def test_texts_are_unit_vectors_in_their_order(self, engine: Engine) -> None:
        texts = ["No pleural effusion.", "Emphysema", "No pleural effusion."]
        first, second, third = engine.embed_texts(texts)
        assert np.array_equal(first.vector, third.vector)
        assert np.array_equal(engine.embed_text("Emphysema").vector, second.vector)
        assert [np.linalg.norm(text.vector) for text in (first, second)] == pytest.approx([1, 1], abs=1e-5)
        assert engine.embed_texts([]) == ()

    def test_a_contrast_turns_with_its_phrase(self, engine: Engine) -> None:
        present, absent = engine.embed_texts(["emphysema", "No emphysema"], contrast=True)
        assert present.vector == pytest.approx(-absent.vector, abs=1e-6)
        assert wording("emphysema").present == wording("No emphysema").absent

    def test_empty_text_is_refused(self, engine: Engine) -> None:
        with pytest.raises(ValueError, match="empty text"):
            engine.embed_text("  ")


def test_a_store_of_other_weights_is_refused(engine: Engine, tmp_path: Path) -> None:
    other = save_random_bundle(tmp_path / "other", seed=1)
    store = open_store(tmp_path / "store", "w")
    with open_engine(other, device="cpu", cache_dir=tmp_path / "cache") as another:
        store.add([encode_volume(another, CaseSource(case="a", path="a"), VOLUME)])
        stored = another.card.sha256
    with engine.open(VOLUME) as session, pytest.raises(StoreModelError) as caught:
        session.similar(store)
    assert (caught.value.stored, caught.value.given) == (stored, engine.card.sha256)


def test_a_path_in_place_of_a_store_is_refused_with_the_way_to_open_it(engine: Engine, tmp_path: Path) -> None:
    with engine.open(VOLUME) as session, pytest.raises(TypeError, match="open_store"):
        session.similar(tmp_path / "store")
