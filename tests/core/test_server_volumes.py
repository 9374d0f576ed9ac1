"""Volumes on a server: checked as they come, bounded in size and number, and by path only below one folder."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chests import chest
from dicom_writer import write_series
from scripted_engine import ScriptedEngine
from support.serving import serving
from support.wire import Caller

from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import decode_frame
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.volumes import VolumeHeader
from colipri_core.remote.protocol.volumes import volume_frames
from colipri_core.remote.server.paths import shown
from colipri_core.remote.server.settings import Limits
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

VOLUME = chest(spacing=(12.0, 12.0, 14.0))
FORGED = (
    "../secret.nii.gz",
    "/etc/passwd",
    "a/../../secret.nii.gz",
    "..",
    "",
    ".",
    "C:\\secret.nii.gz",
    "..\\secret.nii.gz",
    "link.nii.gz",
    "linked/secret.nii.gz",
    "folder",
    "folder/inner.nii.gz",
    "scan.nii.gz\0",
    "file:///etc/passwd",
    "loop",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed folder with a scan, and every way out of it."""
    root = tmp_path / "root"
    outside = tmp_path / "outside"
    for folder in (root, root / "folder", outside):
        folder.mkdir()
    write_volume(VOLUME, root / "scan.nii.gz")
    write_volume(VOLUME, outside / "secret.nii.gz")
    (tmp_path / "secret.nii.gz").symlink_to(outside / "secret.nii.gz")
    (root / "link.nii.gz").symlink_to(outside / "secret.nii.gz")
    (root / "linked").symlink_to(outside)
    (root / "folder" / "inner.nii.gz").symlink_to(outside / "secret.nii.gz")
    (root / "loop").symlink_to(root / "loop")
    (root / "inside.nii.gz").symlink_to(root / "scan.nii.gz")
    return root


@pytest.fixture
def caller(root: Path, tmp_path: Path) -> Iterator[Caller]:
    with serving(ScriptedEngine(), state=tmp_path / "state", root=root) as url, Caller(url) as caller:
        yield caller


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def content_of(volume: Volume) -> bytes:
    return b"".join(b"".join(parts) for parts in volume_frames(volume))


class TestUpload:
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "float64"])
    def test_voxels_come_back_as_they_were(self, dtype: str, order: str, caller: Caller) -> None:
        volume = VOLUME.replace_voxels(np.asarray(VOLUME.voxels.clip(0, 255).astype(dtype), order=order))
        digest = caller.upload(volume)
        header = caller.http.get(f"/v1/volumes/{digest}").json()
        frame = decode_frame(caller.http.get(f"/v1/volumes/{digest}/voxels").content)

        assert (header["shape"], header["dtype"]) == (list(volume.shape), dtype)
        np.testing.assert_array_equal(frame.array("voxels", dtypes=(dtype,), shape=volume.shape), volume.voxels)

    def test_a_volume_is_known_once_it_was_sent(self, caller: Caller) -> None:
        assert caller.http.head(f"/v1/volumes/{VOLUME.sha256}").status_code == 404
        caller.upload(VOLUME)
        assert caller.http.head(f"/v1/volumes/{VOLUME.sha256}").status_code == 200

    def test_a_smaller_picture_is_every_nth_voxel(self, caller: Caller) -> None:
        caller.upload(VOLUME)
        frame = decode_frame(caller.http.get(f"/v1/volumes/{VOLUME.sha256}/voxels?level=2").content)
        found = frame.array("voxels", dtypes=("int16",), shape=(None, None, None))

        np.testing.assert_array_equal(found, VOLUME.voxels[::4, ::4, ::4])

    @pytest.mark.parametrize("level", ["-1", "7", "x", ""])
    def test_a_picture_of_no_level_is_refused(self, level: str, caller: Caller) -> None:
        answer = caller.http.get(f"/v1/volumes/{VOLUME.sha256}/voxels?level={level}")

        assert code(answer) == (422, "bad-value")

    @pytest.mark.parametrize("digest", ["0" * 64, "f" * 64])
    def test_another_digest_is_refused_and_nothing_is_kept(self, digest: str, caller: Caller, tmp_path: Path) -> None:
        answer = caller.http.put(f"/v1/volumes/{digest}", content=content_of(VOLUME))

        assert code(answer) == (400, "malformed")
        assert list((tmp_path / "state" / "volumes").iterdir()) == []

    @pytest.mark.parametrize("digest", ["..", "..%2F..%2Fx", "A" * 64, "0" * 63, "0" * 65, "x" * 64])
    def test_a_forged_digest_is_refused(self, digest: str, caller: Caller, tmp_path: Path) -> None:
        before = sorted(tmp_path.rglob("*"))

        for method in ("GET", "HEAD", "PUT"):
            answer = caller.http.request(method, f"/v1/volumes/{digest}", content=content_of(VOLUME))
            assert 400 <= answer.status_code < 500
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("cut", [1, 17, 40, 1000, -1])
    def test_a_volume_that_breaks_off_is_refused(self, cut: int, caller: Caller, tmp_path: Path) -> None:
        answer = caller.http.put(f"/v1/volumes/{VOLUME.sha256}", content=content_of(VOLUME)[:cut])

        assert code(answer) == (400, "malformed")
        assert list((tmp_path / "state" / "volumes").iterdir()) == []

    def test_bytes_behind_the_volume_are_refused(self, caller: Caller) -> None:
        answer = caller.http.put(f"/v1/volumes/{VOLUME.sha256}", content=content_of(VOLUME) * 2)

        assert code(answer) == (400, "malformed")

    @pytest.mark.parametrize("shape", [(10**6, 10**6, 10**6), (2**31, 1, 1), (9000, 2, 2)])
    def test_a_volume_of_absurd_size_is_refused_by_its_header(
        self, shape: tuple[int, int, int], caller: Caller
    ) -> None:
        header = dataclasses.replace(VolumeHeader.of(VOLUME), shape=shape)
        content = frame_bytes(Kind.HEADER, to_plain(header))

        assert code(caller.http.put(f"/v1/volumes/{'0' * 64}", content=content)) == (413, "too-large")

    def test_a_slab_larger_than_its_volume_is_refused_before_it_is_unpacked(self, caller: Caller) -> None:
        bomb = np.zeros((*VOLUME.shape[:2], 5000), dtype=np.int16)
        content = frame_bytes(Kind.HEADER, to_plain(VolumeHeader.of(VOLUME)))
        content += frame_bytes(Kind.SLAB, {"start": 0}, {"voxels": bomb})

        answer = caller.http.put(f"/v1/volumes/{VOLUME.sha256}", content=content)
        assert code(answer) == (400, "malformed")
        assert "larger than all of it" in answer.text

    @pytest.mark.parametrize("change", [{"dtype": "object"}, {"dtype": "bool"}, {"shape": (0, 4, 4)}, {"affine": ()}])
    def test_a_header_that_is_none_is_refused(self, change: dict, caller: Caller) -> None:
        header = dataclasses.replace(VolumeHeader.of(VOLUME), **change)
        content = frame_bytes(Kind.HEADER, to_plain(header))

        assert code(caller.http.put(f"/v1/volumes/{'0' * 64}", content=content)) == (400, "malformed")


class TestRoom:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_says_what_to_do_and_leaves_nothing(
        self, number: int, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("colipri_core.remote.server.volumes.os.fsync", full)
        answers = [
            caller.http.put(f"/v1/volumes/{VOLUME.sha256}", content=content_of(VOLUME)),
            caller.http.post("/v1/volumes/open", json={"path": "scan.nii.gz"}),
        ]
        monkeypatch.undo()
        for answer in answers:
            assert code(answer) == (507, "server-full")
            assert "space" in answer.text
        assert not list((tmp_path / "state" / "volumes").iterdir())
        assert caller.upload(VOLUME)

    def test_a_small_limit_on_bodies_does_not_refuse_the_slabs_of_a_volume(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(-1000, 1000, (256, 256, 256)).astype(np.int16)
        volume = Volume(voxels=noise, affine=np.eye(4))
        limits = Limits(body_bytes=2**20)
        with serving(ScriptedEngine(), state=tmp_path, limits=limits) as url, Caller(url) as caller:
            assert caller.upload(volume) == volume.sha256

    def test_volumes_nobody_uses_make_room(self, tmp_path: Path) -> None:
        others = [chest(spacing=(12.0, 12.0, 14.0), seed=seed) for seed in (1, 2, 3)]
        limits = Limits(memory_bytes=int(VOLUME.voxels.nbytes * 2.5))
        with serving(ScriptedEngine(), state=tmp_path, limits=limits) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME))
            for other in others:
                caller.upload(other)

            assert caller.open(others[0].sha256) != session  # loaded again from its file
            assert code(caller.http.put(f"/v1/volumes/{'0' * 64}", content=content_of(others[1]))) == (
                503,
                "server-busy",
            )

    def test_files_nobody_uses_are_deleted_when_the_disk_is_full(self, tmp_path: Path) -> None:
        others = [chest(spacing=(12.0, 12.0, 14.0), seed=seed) for seed in (1, 2)]
        limits = Limits(disk_bytes=int(len(content_of(VOLUME)) * 2.5), lease_s=0.4)
        with serving(ScriptedEngine(), state=tmp_path, limits=limits) as url, Caller(url) as caller:
            session = caller.open(caller.upload(VOLUME))
            for number, other in enumerate(others):
                caller.upload(other)
                os.utime(tmp_path / "volumes" / f"{other.sha256}.volume", (number, number + 1_000_000_000))
            folder = tmp_path / "volumes"
            end = time.monotonic() + 20
            while len(list(folder.iterdir())) == 3 and time.monotonic() < end:
                time.sleep(0.05)

            assert len(list(folder.iterdir())) < 3
            assert caller.state(session)["session"] == session
            assert (folder / f"{VOLUME.sha256}.volume").exists()


class TestPaths:
    @pytest.mark.parametrize("path", ["scan.nii.gz", "./scan.nii.gz", "inside.nii.gz"])
    def test_a_scan_below_the_folder_is_opened(self, path: str, caller: Caller, root: Path) -> None:
        answer = caller.http.post("/v1/volumes/open", json={"path": path})

        assert answer.json()["volume"] == read_volume(root / "scan.nii.gz").sha256
        assert str(root) not in answer.text
        assert caller.ask(caller.open(answer.json()["volume"]), "classify")[-1].kind is Kind.RESULT

    @pytest.mark.parametrize("path", FORGED)
    def test_no_path_leads_out_of_the_folder(self, path: str, caller: Caller, tmp_path: Path) -> None:
        answer = caller.http.post("/v1/volumes/open", json={"path": path})

        assert answer.status_code == 422
        assert str(tmp_path) not in answer.text
        assert caller.http.head(f"/v1/volumes/{VOLUME.sha256}").status_code == 404

    def test_what_is_no_scan_is_refused_without_its_place(self, caller: Caller, root: Path) -> None:
        (root / "notes.txt").write_text("no scan")

        answer = caller.http.post("/v1/volumes/open", json={"path": "notes.txt"})
        assert code(answer) == (422, "unreadable-input")
        assert str(root) not in answer.text

    def test_a_scan_that_is_too_large_is_refused(self, root: Path, tmp_path: Path) -> None:
        limits = Limits(volume_voxels=1000)
        with serving(ScriptedEngine(), state=tmp_path / "s", root=root, limits=limits) as url, Caller(url) as caller:
            assert code(caller.http.post("/v1/volumes/open", json={"path": "scan.nii.gz"})) == (413, "too-large")

    def test_without_a_folder_no_path_is_opened(self, tmp_path: Path, root: Path) -> None:
        with serving(ScriptedEngine(), state=tmp_path / "s") as url, Caller(url) as caller:
            assert code(caller.http.post("/v1/volumes/open", json={"path": "scan.nii.gz"})) == (404, "not-found")

    def test_paths_of_matches_are_shown_below_the_folder_alone(self, root: Path) -> None:
        assert shown(root, str(root / "scan.nii.gz")) == "scan.nii.gz"
        assert shown(root, str(root.parent / "secret.nii.gz")) == ""
        assert shown(None, str(root / "scan.nii.gz")) == ""
        assert shown(root, "") == ""


def test_identifiers_of_a_dicom_series_do_not_travel(caller: Caller, root: Path, tmp_path: Path) -> None:
    """What a reader keeps of a series, local files among it, is in the metadata of the volume."""
    (root / "series").mkdir()
    write_series(root / "series", VOLUME.voxels, VOLUME.affine)
    volume = read_volume(root / "series")
    assert volume.metadata
    answer = caller.http.post("/v1/volumes/open", json={"path": "series"})
    header = caller.http.get(f"/v1/volumes/{answer.json()['volume']}")

    for text in (answer.text, header.text):
        assert str(tmp_path) not in text
        assert "1.2." not in text
        assert "metadata" not in text
