"""The case store: what is added is found, changed and removed, as whole batches."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from store_scenes import between
from store_scenes import embedding
from store_scenes import record
from store_scenes import unit

from colipri_core.cases import CaseFilter
from colipri_core.errors import StoreError
from colipri_core.index import CaseStore
from colipri_core.index import open_store


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    store = open_store(tmp_path / "store", "w")
    store.add([record(number) for number in range(8)])
    return store


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """A store of three cases of which something is known."""
    store = open_store(tmp_path_factory.mktemp("described") / "store", "w")
    store.add([
        record(1, findings=("Emphysema",), sex="F", age=61.0, date=datetime.date(2023, 12, 31)),
        record(2, findings=("Lung nodule",), sex="M", age=60.0, date=datetime.date(2024, 5, 31), tags=("it's",)),
        record(3, findings=("Lung nodule", "Emphysema"), age=20.0),
    ])  # fmt: skip
    return store


def names(matches) -> list[str]:
    return [match.case for match in matches]


class TestSearch:
    def test_the_nearest_come_first_with_their_cosine_distance(self, store: CaseStore) -> None:
        query = between(unit(3), unit(5), 0.25)
        found = store.search(embedding(query), 8)

        vectors = np.stack([unit(number) for number in range(8)])
        expected = 1 - vectors @ query
        assert names(found) == [f"case-{number}" for number in np.argsort(expected)]
        assert [match.distance for match in found] == pytest.approx(sorted(expected), abs=1e-5)

    def test_a_match_has_all_that_was_stored(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "store", "w")
        told = {"findings": ("Emphysema",), "age": 61.0, "sex": "F", "date": datetime.date(2024, 5, 31), "tags": ("a",)}
        added = record(1, report="\u6c14\u80bf \u0627\u0644\u0631\u0626\u0629", **told)
        store.add([added])

        (match,) = store.search(embedding(unit(1)))
        assert match.source == added.source
        assert match.thumbnails == {"axial": b"png"}
        assert match.volume_sha256 == added.volume_sha256
        assert match.to_json() == {
            "case": "case-1", "distance": 0.0, "path": added.source.path, "report": added.source.report
        }  # fmt: skip

    def test_a_region_is_found_in_the_case_that_has_it_and_so_is_its_place(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "store", "w")
        store.add(
            [record(number, regions=tuple(unit(100 * number + part) for part in range(40))) for number in range(6)]
        )
        query = between(unit(417), unit(7), 0.1)

        found = store.search(embedding(query), 3, by_region=True)
        assert len(set(names(found))) == 3
        assert found[0].case == "case-4"
        assert found[0].place.center_ras == (170.0, 0.0, 4.0)

    def test_every_case_is_found_by_region_however_many_parts_the_first_has(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "store", "w")
        near = tuple(between(unit(0), unit(number), 0.1) for number in range(1, 300))
        store.add([record(0, regions=near), *(record(number) for number in range(1, 4))])

        assert sorted(names(store.search(embedding(unit(0)), 4, by_region=True))) == [f"case-{n}" for n in range(4)]

    def test_sentences_are_found_once_each(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "store", "w")
        store.add([record(number, report="No effusion.") for number in range(5)])
        store.update([record(4, report="Effusion.")])

        found = store.sentences(embedding(unit(4)), 5)
        assert [sentence.text for sentence in found] == ["Effusion.", "No effusion."]
        assert found[0].case == "case-4"
        assert found[0].distance == pytest.approx(0, abs=1e-3)

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            (CaseFilter(finding="emphysematous change"), {1, 3}),
            (CaseFilter(tag="it's"), {2}),
            (CaseFilter(sex="F"), {1}),
            (CaseFilter(age=(60, None)), {1, 2}),
            (CaseFilter(age=(None, 60)), {2, 3}),
            (CaseFilter(dates=(datetime.date(2024, 1, 1), datetime.date(2024, 12, 31))), {2}),
            (CaseFilter(finding="Emphysema", sex="F", age=(50, 70)), {1}),
            (CaseFilter(finding="' OR 'a' = 'a"), set()),
        ],
    )
    @pytest.mark.parametrize("by_region", [False, True])
    def test_filters(self, described: CaseStore, where: CaseFilter, expected: set[int], by_region: bool) -> None:
        found = described.search(embedding(unit(1)), 5, where=where, by_region=by_region)
        assert set(names(found)) == {f"case-{number}" for number in expected}
        assert {case.case for case in described.cases(where)} == set(names(found))


class TestChange:
    def test_an_update_replaces_the_case_as_a_whole(self, store: CaseStore) -> None:
        store.update([record(2, report="New.", regions=(unit(77),))])

        info = store.info()
        assert (info.cases, info.regions, info.sentences) == (8, 8, 8)
        (match, *_) = store.search(embedding(unit(77)), by_region=True)
        assert (match.case, match.report) == ("case-2", "New.")
        assert store.search(embedding(unit(1002)), 1, by_region=True)[0].distance > 0.1

    def test_what_is_removed_leaves_nothing_behind(self, store: CaseStore) -> None:
        store.remove(["case-2", "case-3"])

        info = store.info()
        assert (info.cases, info.regions, info.sentences) == (6, 6, 6)
        assert "case-2" not in names(store.search(embedding(unit(2)), 8))
        assert "Report 2." not in [sentence.text for sentence in store.sentences(embedding(unit(2)), 20)]

    def test_an_unknown_name_removes_nothing(self, store: CaseStore) -> None:
        with pytest.raises(StoreError, match="nobody"):
            store.remove(["case-1", "nobody"])
        assert len(store) == 8

    def test_a_name_that_is_taken_adds_nothing(self, store: CaseStore) -> None:
        with pytest.raises(StoreError, match="case-7"):
            store.add([record(7), record(8)])
        assert len(store) == 8

    def test_a_reader_sees_what_a_writer_added_later(self, store: CaseStore, tmp_path: Path) -> None:
        reader = open_store(tmp_path / "store")
        assert len(reader) == 8
        store.add([record(8)])
        assert names(reader.search(embedding(unit(8)), 1)) == ["case-8"]

    def test_a_reader_cannot_write(self, store: CaseStore, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"r\+"):
            open_store(tmp_path / "store").remove(["case-1"])

    def test_tidying_changes_no_answer(self, store: CaseStore) -> None:
        query = embedding(between(unit(3), unit(5), 0.25))
        before = store.search(query, 8)
        store.tidy()
        assert store.search(query, 8) == before


_INDEXING = """
import sys
from store_scenes import record, unit
from colipri_core.index import open_store, vectors

vectors.INDEX_FROM_NUMBERS, vectors.ROWS_PER_GROUP = 1, 2
store = open_store(sys.argv[1], "w")
store.add([record(number, regions=(unit(1),) * 4) for number in range(10)])
store.tidy()
print(vectors.has_index(store._database.table("regions", 1)))
"""


def test_making_a_vector_index_says_nothing_of_its_clusters(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _INDEXING, str(tmp_path / "store")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("True\n", "")
