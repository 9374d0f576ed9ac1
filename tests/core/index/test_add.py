"""Encoding scans into a store: resumed, shared, repeated, and with scans that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chests import chest
from random_bundles import save_random_bundle

from colipri_core.cases import CaseSource
from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.errors import Cancelled
from colipri_core.errors import StoreError
from colipri_core.errors import StoreModelError
from colipri_core.index import CaseStore
from colipri_core.index import open_store
from colipri_core.index.add import AddOptions
from colipri_core.index.add import add_cases
from colipri_core.index.add import encode_case
from colipri_core.index.rebuild import rebuild_store
from colipri_core.index.shard import Shard
from colipri_core.index.sources import find_sources
from colipri_core.io import write_volume
from colipri_core.progress import CancelToken

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

REPORT = "FINDINGS: There is a small pleural effusion. No lung nodule. \u6c14\u80bf\u3002"
SPACING = (12.0, 12.0, 14.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number in range(4):
        write_volume(chest(spacing=SPACING, seed=number), folder / f"scan{number}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("models")
    with open_engine(save_random_bundle(home / "first"), device="cpu", cache_dir=home / "cache") as engine:
        yield engine


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("models")
    with open_engine(save_random_bundle(home / "other", seed=1), device="cpu", cache_dir=home / "cache") as engine:
        yield engine


@pytest.fixture
def sources(folder: Path) -> list[CaseSource]:
    return find_sources([folder])


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return open_store(tmp_path / "store", "w")


def names(store: CaseStore) -> list[str]:
    return sorted(store.paths())


def test_all_that_is_kept_of_a_scan(engine: Engine, folder: Path) -> None:
    record = encode_case(engine, CaseSource(case="a", path=str(folder / "scan0.nii.gz"), report=REPORT))

    assert record.source.findings == ("Pleural effusion",)
    assert list(record.sentences)[:2] == ["There is a small pleural effusion.", "No lung nodule."]
    assert {plane: png[:8] for plane, png in record.thumbnails.items()} == dict.fromkeys(
        ("axial", "coronal", "sagittal"), b"\x89PNG\r\n\x1a\n"
    )
    assert record.embedding.provenance.model == engine.card
    assert len(record.regions) > 50
    with engine.open(chest(spacing=SPACING, seed=0)) as session:
        assert np.array_equal(session.embedding().vector, record.embedding.vector)


def test_given_labels_are_kept_and_the_report_is_not_asked(engine: Engine, folder: Path) -> None:
    source = CaseSource(case="a", path=str(folder / "scan0.nii.gz"), report=REPORT, findings=("emphysematous change",))
    assert encode_case(engine, source).source.findings == ("Emphysema",)


def test_it_goes_on_where_it_stopped(engine: Engine, store: CaseStore, sources: list[CaseSource]) -> None:
    token, asked = CancelToken(), []

    def stop(fraction: float, message: str) -> None:
        asked.append(message)
        if "scan2" in message:
            token.cancel()

    with pytest.raises(Cancelled):
        add_cases(store, engine, sources, options=AddOptions(batch_size=1), progress=stop, cancel=token)
    assert names(store) == ["scan0", "scan1"]
    done = add_cases(store, engine, sources)
    assert (done.added, done.present, dict(done.failed)) == (("scan2", "scan3"), ("scan0", "scan1"), {})


def test_processes_share_the_scans(engine: Engine, store: CaseStore, sources: list[CaseSource]) -> None:
    for rank in range(3):
        shard = Shard.from_environment({"RANK": str(rank), "WORLD_SIZE": "3"})
        done = add_cases(store, engine, sources, options=AddOptions(shard=shard))
        assert done.added == tuple(source.case for source in sources[rank::3])
    assert names(store) == [f"scan{number}" for number in range(4)]


@pytest.mark.parametrize(("rank", "size"), [("3", "3"), ("-1", "2"), ("a", "2")])
def test_ranks_that_make_no_sense_are_refused(rank: str, size: str) -> None:
    with pytest.raises(ValueError, match=r"rank|invalid"):
        Shard.from_environment({"RANK": rank, "WORLD_SIZE": size})


def test_a_scan_that_cannot_be_used_is_reported_and_the_others_are_added(
    engine: Engine, store: CaseStore, folder: Path, tmp_path: Path
) -> None:
    voxels = chest(spacing=SPACING).voxels.astype(np.float32)
    voxels[5, 5, 5] = np.nan
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b not a scan")
    paths = [tmp_path / "broken.nii.gz", tmp_path / "none.nii.gz", folder / "scan0.nii.gz"]
    done = add_cases(store, engine, [CaseSource(case=path.name, path=str(path)) for path in paths])

    assert done.added == ("scan0.nii.gz",)
    assert set(done.failed) == {"broken.nii.gz", "none.nii.gz"}
    assert done.exit_code == 3
    assert names(store) == ["scan0.nii.gz"]


def test_updating_replaces_and_another_scan_of_that_name_does_not(
    engine: Engine, store: CaseStore, sources: list[CaseSource], folder: Path
) -> None:
    add_cases(store, engine, sources[:2])
    moved = CaseSource(case="scan0", path=str(folder / "scan3.nii.gz"), report=REPORT)
    done = add_cases(store, engine, [moved])
    assert done.exit_code == 3
    assert "scan3.nii.gz" in done.failed["scan0"]
    assert add_cases(store, engine, [moved], options=AddOptions(update=True)).added == ("scan0",)
    assert {case.case: case.report for case in store.cases()} == {"scan0": REPORT, "scan1": ""}


def test_a_store_of_other_weights_is_refused_before_anything_is_encoded(
    engine: Engine, other: Engine, store: CaseStore, sources: list[CaseSource]
) -> None:
    add_cases(store, engine, sources[:1])
    messages: list[str] = []
    with pytest.raises(StoreModelError):
        add_cases(store, other, sources[1:2], progress=lambda fraction, message: messages.append(message))
    assert messages == []


class TestRebuild:
    def test_the_store_becomes_one_of_the_other_model(
        self, engine: Engine, other: Engine, store: CaseStore, sources: list[CaseSource], tmp_path: Path
    ) -> None:
        add_cases(store, engine, [*sources[:2]])
        reader = open_store(tmp_path / "store")
        assert rebuild_store(store, other) == ()
        assert reader.about.card == other.card
        with other.open(chest(spacing=SPACING, seed=1)) as session:
            (best, second) = session.similar(reader)
        assert (best.case, best.distance) == ("scan1", pytest.approx(0, abs=1e-5))
        assert second.case == "scan0"
        rebuild_store(store, engine)
        assert (reader.about.card, len(reader)) == (engine.card, 2)

    def test_cancelled_it_leaves_the_store_as_it_was(
        self, engine: Engine, other: Engine, store: CaseStore, sources: list[CaseSource]
    ) -> None:
        add_cases(store, engine, sources[:2])
        token = CancelToken()

        def stop(fraction: float, message: str) -> None:
            if "2 of 2" in message:
                token.cancel()

        with pytest.raises(Cancelled):
            rebuild_store(store, other, progress=stop, cancel=token)
        assert (store.about.card, names(store)) == (engine.card, ["scan0", "scan1"])

    def test_a_scan_that_is_gone_stops_it_unless_it_may_be_dropped(
        self, engine: Engine, other: Engine, store: CaseStore, tmp_path: Path
    ) -> None:
        for name in ("kept", "gone"):
            write_volume(chest(spacing=SPACING), tmp_path / f"{name}.nii.gz")
        add_cases(store, engine, find_sources([tmp_path / "kept.nii.gz", tmp_path / "gone.nii.gz"]))
        (tmp_path / "gone.nii.gz").unlink()

        with pytest.raises(StoreError, match=r"gone.nii.gz.*--drop-missing"):
            rebuild_store(store, other)
        assert (store.about.card, names(store)) == (engine.card, ["gone", "kept"])
        with engine.open(chest(spacing=SPACING)) as session:
            assert {match.case for match in session.similar(store)} == {"gone", "kept"}  # still found, with its picture
        assert rebuild_store(store, other, drop_missing=True) == ("gone",)
        assert names(store) == ["kept"]
