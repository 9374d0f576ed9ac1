"""Scans that lie at the server: a match of its store is opened from any folder of the client."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chests import chest
from scripted_engine import ScriptedEngine
from store_scenes import embedding
from store_scenes import record
from store_scenes import unit
from support.serving import serving

from colipri_core.errors import Cancelled
from colipri_core.errors import NotFoundError
from colipri_core.errors import UnreadableInputError
from colipri_core.index import open_store
from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.progress import CancelToken
from colipri_core.remote.client import RemoteEngine
from colipri_core.remote.stores import read_match
from colipri_core.remote.stores import store_for

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

VOLUME = chest(spacing=(12.0, 12.0, 14.0))


def test_a_match_of_a_servers_store_is_read_at_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "ward", elsewhere):
        folder.mkdir(parents=True)
    scan = root / "ward" / "scan.nii.gz"
    write_volume(VOLUME, scan)
    store = open_store(tmp_path / "store", "w")
    store.add([record(1, path=str(scan)), record(2, path=str(tmp_path / "outside.nii.gz"))])
    monkeypatch.chdir(elsewhere)
    with (
        serving(ScriptedEngine(), root=root, stores={"lab": str(tmp_path / "store")}) as url,
        RemoteEngine(url) as engine,
    ):
        found = {match.case: match for match in store_for(engine, "lab").search(embedding(unit(1)), 2)}
        volume = read_match(engine, "lab", found["case-1"].path)
        with pytest.raises(UnreadableInputError, match="does not say where it lies"):
            read_match(engine, "lab", found["case-2"].path)
        with pytest.raises(UnreadableInputError, match="nothing there"):
            engine.read("ward/none.nii.gz")
    there = read_volume(scan)
    assert (volume.name, volume.unit, volume.sha256) == (there.name, there.unit, there.sha256)
    assert np.array_equal(volume.voxels, there.voxels)


def test_fetching_tells_how_far_it_is_and_can_be_cancelled(tmp_path: Path) -> None:
    write_volume(VOLUME, tmp_path / "scan.nii.gz")
    told: list[tuple[float, str]] = []
    token = CancelToken()

    def stop_once_fetching(fraction: float, message: str) -> None:
        if message.startswith("Fetching"):
            token.cancel()

    with serving(ScriptedEngine(), root=tmp_path) as url, RemoteEngine(url) as engine:
        engine.read("scan.nii.gz", progress=lambda fraction, message: told.append((fraction, message)))
        with pytest.raises(Cancelled):
            engine.read("scan.nii.gz", progress=stop_once_fetching, cancel=token)
        assert engine.read("scan.nii.gz").shape == VOLUME.shape, "the connection outlives a cancelled read"
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert {message for _, message in told} == {"Reading scan.nii.gz at the server", "Fetching scan.nii.gz"}


def test_a_server_without_a_folder_reads_nothing() -> None:
    with serving(ScriptedEngine()) as url, RemoteEngine(url) as engine, pytest.raises(NotFoundError, match="--root"):
        engine.read("scan.nii.gz")
    with pytest.raises(UnreadableInputError, match="the path of the scan"):
        read_match(ScriptedEngine(), "store", "")
