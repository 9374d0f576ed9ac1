"""The same engine asked here and over the wire: every number agrees within 1e-6, and every label is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chests import chest
from random_bundles import save_random_bundle
from support.serving import serving

from colipri_core.cases import CaseFilter
from colipri_core.cases import CaseSource
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import Paint
from colipri_core.engine import open_engine
from colipri_core.errors import NotFoundError
from colipri_core.index import open_store
from colipri_core.index.add import encode_volume
from colipri_core.prompts import Crop
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.remote.client import RemoteEngine
from colipri_core.report import Report
from colipri_core.session import Session

LUNG = chest().geometry.index_to_world((20, 20, 20))


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """An engine, the same one behind a server with a case store, and the store itself."""
    folder = tmp_path_factory.mktemp("agreement")
    with open_engine(save_random_bundle(folder / "random"), device="cpu", cache_dir=folder / "cache") as local:
        store = open_store(folder / "store", "w")
        for seed in range(3):
            source = CaseSource(case=f"case {seed}", path=str(seed), report="There is a lung nodule.", tags=("x",))
            store.add([encode_volume(local, source, chest(seed=seed))])
        with serving(local, stores={"lab": str(folder / "store")}) as url, RemoteEngine(url) as remote:
            yield local, remote, store


@pytest.fixture
def sessions(engines: tuple) -> Iterator[tuple[Session, Session]]:
    local, remote, _ = engines
    volume = chest(seed=5)
    with local.open(volume) as here, remote.open(volume) as there:
        yield here, there


def test_the_engines_say_the_same_of_themselves(engines: tuple) -> None:
    local, remote, _ = engines
    for name in ("card", "capabilities", "device", "versions"):
        assert getattr(local, name) == getattr(remote, name)
    for mine, theirs in zip(local.embed_texts(["a", "b"]), remote.embed_texts(["a", "b"]), strict=True):
        np.testing.assert_allclose(theirs.vector, mine.vector, atol=1e-6)


def test_findings_maps_structures_and_vectors(sessions: tuple[Session, Session]) -> None:
    here, there = sessions
    assert [item.name for item in here.classify()] == [item.name for item in there.classify()]
    mine, theirs = ([item.probability for item in session.classify()] for session in sessions)
    assert theirs == pytest.approx(mine, abs=1e-6)
    ours, found = here.evidence("lung nodule"), there.evidence("lung nodule")
    np.testing.assert_allclose(found.values, ours.values, atol=1e-6)
    np.testing.assert_allclose(found.peak_ras, ours.peak_ras, atol=1e-6)
    assert (found.geometry, found.text) == (ours.geometry, ours.text)
    outlined = there.segment(), here.segment()
    assert np.array_equal(outlined[0].labelmap, outlined[1].labelmap)
    assert outlined[0].uncertainty == outlined[1].uncertainty is not None
    np.testing.assert_allclose(there.embedding().vector, here.embedding().vector, atol=1e-6)
    for one, other in zip(here.regions(), there.regions(), strict=True):
        assert one.name == other.name
        np.testing.assert_allclose(other.vector, one.vector, atol=1e-6)


def test_labels_states_and_logs(sessions: tuple[Session, Session]) -> None:
    here, there = sessions
    corner = Crop(lower=(3, 3, 3), mask=np.ones((4, 4, 4), dtype=bool))
    for act in (
        lambda session: session.prompt(Point(ras=tuple(LUNG))),
        lambda session: session.edit(Paint(voxels=corner, label=300)),
        lambda session: session.prompt(Phrase(text="pleural effusion"), label=2),
        lambda session: session.undo(),
        lambda session: session.redo(),
        lambda session: session.edit(Adopt(segmentation=session.segment())),
        lambda session: session.undo(),
    ):
        mine, theirs = (act(session) for session in sessions)
        assert theirs.to_json() == mine.to_json()
        assert np.array_equal(theirs.labels, mine.labels)
        assert there.editing == here.editing
    assert np.array_equal(there.segmentation.labelmap, here.segmentation.labelmap)
    assert there.segmentation.segments == here.segmentation.segments
    assert there.segmentation.provenance == here.segmentation.provenance
    assert there.edit_log() == here.edit_log()


def test_sentences_stream_and_make_the_same_report(sessions: tuple[Session, Session], engines: tuple) -> None:
    _, remote, store = engines

    def drafts(session: Session, stores: tuple) -> list[Report]:
        reports = []
        for given in stores:
            sentences: list = []
            reports.append(session.draft_report(store=given, on_sentence=sentences.append))
            assert sentences == list(reports[-1])
        return reports

    here, there = sessions
    mine, theirs = drafts(here, (None, store, store)), drafts(there, (None, store, remote.store("lab")))
    for one, other in zip(mine, theirs, strict=True):
        assert (other.sections, other.unmentioned, other.text) == (one.sections, one.unmentioned, one.text)
    checked = [session.check_sentences(["No lung nodule."]).sections for session in sessions]
    assert checked[0] == checked[1]


def test_similar_cases_of_either_side(sessions: tuple[Session, Session], engines: tuple, tmp_path: Path) -> None:
    _, remote, store = engines
    here, there = sessions
    assert remote.stores == ("lab",)
    part = Crop(lower=(12, 20, 10), mask=np.ones((6, 6, 5), dtype=bool))
    for options in ({}, {"where": CaseFilter(tag="x")}, {"region": part}, {"where": CaseFilter(tag="none")}):
        expected = here.similar(store, 3, **options)
        for given in (store, remote.store("lab")):
            found = there.similar(given, 3, **options)
            assert [match.case for match in found] == [match.case for match in expected]
            assert [match.distance for match in found] == pytest.approx([m.distance for m in expected], abs=1e-6)
            assert [match.thumbnails for match in found] == [match.thumbnails for match in expected]
    query = remote.embed_text("lung nodule", contrast=True)
    assert [m.case for m in remote.store("lab").search(query, 2)] == [m.case for m in store.search(query, 2)]
    assert remote.store("lab").sentences(query, 4) == list(store.sentences(query, 4))
    with pytest.raises(NotFoundError, match="lab"):
        remote.store("other")
