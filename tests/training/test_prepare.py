"""`colipri-train prepare`: what is stored, what is refused, and what is left after an interruption."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from data_sets import SPEC
from data_sets import cut_in_half
from data_sets import make_manifest
from data_sets import write_chest
from typer.testing import CliRunner

from colipri_core.io import read_volume
from colipri_core.preprocess import prepare as prepare_for_model
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.cli.main import app
from colipri_training.data.manifest import Correction
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest_files import write_manifest
from colipri_training.data.prepare import PrepareOptions
from colipri_training.data.prepare import prepare
from colipri_training.data.prepare_entry import PreparationStoppedError
from colipri_training.data.prepare_entry import prepare_volume
from colipri_training.data.prepared import PreparedDataError
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.prepared import read_record
from colipri_training.data.variation import centre_start

OPTIONS = PrepareOptions(spec=SPEC)
FRAMES = "volumes/*/[!.]*.b2nd"


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob(FRAMES)}


class TestStoredVolumes:
    def test_the_centre_crop_is_the_models_input(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=1)
        summary = prepare(manifest, tmp_path / "out", OPTIONS)
        prepared = PreparedVolumes(tmp_path / "out")
        volume = prepared.volumes[0]
        hu = prepared.crop(volume, centre_start(volume.record.shape, SPEC.size), SPEC.size)

        expected = prepare_for_model(read_volume(manifest.entries[0].image), SPEC)
        assert (summary.made, summary.kept, summary.refused) == (1, 0, ())
        assert np.abs(np.clip(hu, -1000, 1000) / 1000 - expected.array).max() <= 0.5 / 1000 + 1e-6
        assert hu.dtype == np.int16

    def test_nothing_is_cut_off_and_the_affine_is_the_grids(self, tmp_path: Path) -> None:
        volume = read_volume(write_chest(tmp_path / "a.nii.gz"))
        hu, affine = prepare_volume(volume, PreprocessSpec(orientation="SPR", spacing_mm=(7.0, 8.0, 9.0)))

        extent = np.asarray(volume.reoriented("SPR").shape) * np.asarray(volume.reoriented("SPR").spacing)
        assert hu.shape == tuple(np.floor(extent / (7.0, 8.0, 9.0)).astype(int))
        assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), (7.0, 8.0, 9.0))
        centre = affine @ [*((np.asarray(hu.shape) - 1) / 2), 1.0]
        assert np.allclose(centre[:3], volume.geometry.center)

    def test_the_index_holds_texts_labels_and_hashes(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=1, image_only=1)
        prepare(manifest, tmp_path / "out", OPTIONS)
        for volume, entry in zip(PreparedVolumes(tmp_path / "out").volumes, manifest.entries, strict=True):
            assert (volume.id, volume.patient, volume.split) == (entry.id, entry.patient, entry.split)
            assert (volume.report, volume.labels) == (entry.report, entry.labels)
            assert len(volume.record.source_sha256) == 64

    def test_the_body_is_found(self, tmp_path: Path) -> None:
        prepare(make_manifest(tmp_path / "in", paired=1), tmp_path / "out", OPTIONS)
        record = PreparedVolumes(tmp_path / "out").volumes[0].record

        # The phantom's body is 300 x 210 mm in a field of view of 330 x 250 mm, along its whole length.
        widths = [8.0 * (last - first) for first, last in record.body]
        assert widths[0] == pytest.approx(300, abs=20)
        assert widths[1] == pytest.approx(210, abs=20)
        assert record.body[2] == (0, record.shape[2])

    def test_boxes_beyond_the_volume_are_its_minimum(self, tmp_path: Path) -> None:
        prepare(make_manifest(tmp_path / "in", paired=1), tmp_path / "out", OPTIONS)
        prepared = PreparedVolumes(tmp_path / "out")
        volume = prepared.volumes[0]
        whole = prepared.crop(volume, (0, 0, 0), volume.record.shape)
        box = prepared.crop(volume, (-3, 0, 5), (10, 9, 8))

        assert (box[:3] == volume.record.minimum_hu).all()
        assert np.array_equal(box[3:], whole[:7, :9, 5:13])
        assert (prepared.crop(volume, (500, 0, 0), (2, 2, 2)) == whole.min()).all()

    def test_a_correction_is_applied(self, tmp_path: Path) -> None:
        entry = make_manifest(tmp_path / "in", paired=1).entries[0]
        fixed = dataclasses.replace(entry, correction=Correction(slope=1.0, intercept=-5.0))
        for name, one in (("plain", entry), ("fixed", fixed)):
            prepare(Manifest(entries=(one,)), tmp_path / name, OPTIONS)
        plain, shifted = (PreparedVolumes(tmp_path / name) for name in ("plain", "fixed"))
        boxes = [p.crop(p.volumes[0], (10, 10, 10), (4, 4, 4)).astype(int) for p in (plain, shifted)]

        assert np.abs(boxes[0] - 5 - boxes[1]).max() <= 1

    def test_changed_bits_are_found(self, tmp_path: Path) -> None:
        prepare(make_manifest(tmp_path / "in", paired=1), tmp_path / "out", OPTIONS)
        prepared = PreparedVolumes(tmp_path / "out")
        prepared.verify(prepared.volumes[0])
        path = tmp_path / "out" / prepared.volumes[0].file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)

        with pytest.raises(PreparedDataError, match="Delete it and prepare again"):
            prepared.verify(prepared.volumes[0])


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        prepare(make_manifest(tmp_path / "in", paired=1), tmp_path / "out", OPTIONS)
        return tmp_path / "out"

    def test_no_byte_of_a_header_ends_in_another_error(self, folder: Path) -> None:
        prepared = PreparedVolumes(folder)
        path = folder / prepared.volumes[0].file
        whole = path.read_bytes()
        refused: dict[int, str] = {}
        for place in range(64, 200):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
            try:
                box = prepared.crop(prepared.volumes[0], (4, 4, 4), (8, 8, 8))
            except PreparedDataError as error:
                refused[place] = str(error)
            else:
                assert (box.shape, box.dtype) == ((8, 8, 8), np.int16)
            read_record(path)
        assert all(f'"{path.stem}" is missing or damaged' in message for message in refused.values())
        assert 80 in refused

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[]", b"{}", b'{"format": 1}', b'{"format": 1, "spac'])
    def test_settings_that_are_none_are_named(self, folder: Path, content: bytes) -> None:
        (folder / "prepared.json").write_bytes(content)
        with pytest.raises(PreparedDataError, match=r'"out|again'):
            PreparedVolumes(folder)

    @pytest.mark.parametrize("line", ["\xe9", "[]", "5", '{"id": "a"}', '{"record": []}', "{"])
    def test_a_line_of_the_index_that_is_none_is_named(self, folder: Path, line: str) -> None:
        with (folder / "index.jsonl").open("a", encoding="latin-1") as stream:
            stream.write(line + "\n")
        with pytest.raises(PreparedDataError, match=r'index of "out", index.jsonl, is damaged .* prepare` on it again'):
            PreparedVolumes(folder)


class TestRefusals:
    def test_bad_volumes_are_noted_and_the_run_goes_on(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=6)
        images = [entry.image for entry in manifest.entries]
        cut_in_half(images[0])
        images[1].write_text("not an image")
        images[2].unlink()
        images[3].rename(tmp_path / "x.nii.gz")
        windowed = read_volume(tmp_path / "x.nii.gz")
        eight_bit = np.clip(windowed.voxels / 8 + 128, 0, 255).astype(np.uint8)
        nib.save(nib.Nifti1Image(eight_bit, windowed.affine), images[3])
        summary = prepare(manifest, tmp_path / "out", OPTIONS)

        assert summary.made == 2
        with (tmp_path / "out" / "refused.csv").open() as stream:
            refused = list(csv.DictReader(stream))
        assert [row["id"] for row in refused] == [entry.id for entry in manifest.entries[:4]]
        assert [row["code"] for row in refused] == ["unreadable-input"] * 3 + ["unsupported-volume"]
        reasons = ["truncated gzip", "expected a NIfTI image", "nothing at this path", "8-bit image of one window"]
        assert all(reason in row["reason"] for reason, row in zip(reasons, refused, strict=True))
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert (report["made"], report["refused"]) == (2, 4)
        assert [volume.id for volume in PreparedVolumes(tmp_path / "out").volumes] == ["scan004", "scan005"]

    def test_a_repaired_volume_is_taken_the_next_time(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=2)
        good = manifest.entries[0].image.read_bytes()
        cut_in_half(manifest.entries[0].image)
        assert len(prepare(manifest, tmp_path / "out", OPTIONS).refused) == 1
        manifest.entries[0].image.write_bytes(good)

        again = prepare(manifest, tmp_path / "out", OPTIONS)
        assert (again.made, again.kept, again.refused) == (1, 1, ())

    def test_nothing_usable_is_an_error(self, tmp_path: Path) -> None:
        entry = Entry(id="a", image=tmp_path / "none.nii.gz", patient="p", split="train")
        with pytest.raises(PreparationStoppedError, match=r"None of 1 volumes could be used.*nothing at this path"):
            prepare(Manifest(entries=(entry,)), tmp_path / "out", OPTIONS)


class TestResuming:
    def test_finished_volumes_are_kept_and_changed_ones_made_again(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=3)
        prepare(manifest, tmp_path / "out", OPTIONS)
        before = files(tmp_path / "out")
        write_chest(manifest.entries[1].image, seed=99)
        again = prepare(manifest, tmp_path / "out", OPTIONS)

        assert (again.made, again.kept) == (1, 2)
        changed = {name for name, when in files(tmp_path / "out").items() if when != before[name]}
        assert changed == {"scan001.b2nd"}

    def test_new_texts_reach_the_index_without_reading_images(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=1)
        prepare(manifest, tmp_path / "out", OPTIONS)
        manifest.entries[0].image.unlink()
        entry = dataclasses.replace(manifest.entries[0], report="Rewritten.")
        prepare(Manifest(entries=(entry,)), tmp_path / "out", OPTIONS)

        assert PreparedVolumes(tmp_path / "out").volumes[0].report == "Rewritten."

    def test_another_grid_or_a_second_run_is_refused(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=1)
        prepare(manifest, tmp_path / "out", OPTIONS)
        finer = PrepareOptions(spec=PreprocessSpec(spacing_mm=(7.0, 7.0, 7.0)))
        with pytest.raises(PreparedDataError, match="Choose another folder"):
            prepare(manifest, tmp_path / "out", finer)
        with pytest.raises(PreparedDataError, match="--resume"):
            prepare(manifest, tmp_path / "out", dataclasses.replace(OPTIONS, resume=False))
        with pytest.raises(PreparedDataError, match="Prepare the data set for this recipe"):
            PreparedVolumes(tmp_path / "out").check_grid(finer.spec)

    def test_killed_in_the_middle_it_leaves_whole_files_and_goes_on(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=30)
        write_manifest(tmp_path / "m.csv", manifest)
        command = [sys.executable, "-c", _preparing(tmp_path)]
        process = subprocess.Popen(command, env=_environment(), start_new_session=True)
        deadline = time.monotonic() + 120
        while len(files(tmp_path / "out")) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        while _is_alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _is_alive(process.pid), "workers outlive the process that started them"

        finished = files(tmp_path / "out")
        assert 2 <= len(finished) < 30
        assert all(read_record(path) for path in (tmp_path / "out").glob(FRAMES))
        with pytest.raises(PreparedDataError, match="has not finished"):
            PreparedVolumes(tmp_path / "out")
        summary = prepare(manifest, tmp_path / "out", OPTIONS)
        assert (summary.made, summary.kept) == (30 - len(finished), len(finished))
        assert not list((tmp_path / "out").rglob(".colipri-*"))
        prepared = PreparedVolumes(tmp_path / "out")
        for volume in prepared.volumes:
            prepared.verify(volume)

    def test_a_full_disk_stops_with_a_message_and_nothing_half_written(self, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path / "in", paired=2)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))  # the system refuses what comes after
        try:
            with pytest.raises(PreparationStoppedError, match=r"No room is left.*run the same command again"):
                prepare(manifest, tmp_path / "out", OPTIONS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

        assert not list((tmp_path / "out" / "volumes").rglob("*.b2nd"))
        assert prepare(manifest, tmp_path / "out", OPTIONS).made == 2


def test_the_command_line_with_processes(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path / "in", paired=2)
    cut_in_half(manifest.entries[1].image)
    runner = CliRunner()
    made = runner.invoke(app, ["manifest", "folder", str(tmp_path / "in"), "--output", str(tmp_path / "m.parquet")])
    assert made.exit_code == 0, made.output
    arguments = ["prepare", str(tmp_path / "m.parquet"), "--output", str(tmp_path / "out"), "--recipe", "smoke"]
    result = runner.invoke(app, [*arguments, "--workers", "2"])

    assert result.exit_code == 0, result.output
    assert "1 volumes prepared, 0 kept, 1 refused" in result.stdout
    assert [volume.id for volume in PreparedVolumes(tmp_path / "out").volumes] == ["scan000"]


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _preparing(folder: Path) -> str:
    return textwrap.dedent(f"""
        from pathlib import Path
        from colipri_core.preprocess_spec import PreprocessSpec
        from colipri_training.data.manifest_files import read_manifest
        from colipri_training.data.prepare import PrepareOptions, prepare
        folder = Path({str(folder)!r})
        options = PrepareOptions(spec=PreprocessSpec(spacing_mm=(8.0, 8.0, 8.0), size=(24, 24, 24)), workers=2)
        prepare(read_manifest(folder / "m.csv"), folder / "out", options)
    """)
