"""The loader: a pure function of the step, the same on one rank and on two, and true to its reports."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import SPEC
from data_sets import make_manifest

from colipri_core.io import read_volume
from colipri_core.preprocess import prepare as prepare_for_model
from colipri_training.data.loader import LoaderConfig
from colipri_training.data.loader import VolumeBatch
from colipri_training.data.loader import VolumeLoader
from colipri_training.data.loader import model_input
from colipri_training.data.prepare import PrepareOptions
from colipri_training.data.prepare import prepare
from colipri_training.data.prepared import PreparedDataError
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.prepared import Record
from colipri_training.data.sampling import Sampler
from colipri_training.data.variation import Change
from colipri_training.data.variation import Variation
from colipri_training.data.variation import draw
from colipri_training.data.variation import names_side
from colipri_training.data.variation import render

CONFIG = LoaderConfig(batch_size=4, image_only_share=0.5, seed=5, workers=0)
PLAIN = Variation(is_random=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedVolumes:
    folder = tmp_path_factory.mktemp("data")
    prepare(make_manifest(folder / "in", paired=5, image_only=3), folder / "out", PrepareOptions(spec=SPEC))
    return PreparedVolumes(folder / "out")


def first(loader: VolumeLoader, number: int) -> list[VolumeBatch]:
    return list(islice(loader, number))


def assert_same(batch: VolumeBatch, other: VolumeBatch) -> None:
    assert torch.equal(batch.images, other.images)
    assert torch.equal(batch.labels, other.labels)
    assert (batch.step, batch.ids, batch.reports) == (other.step, other.ids, other.reports)


class TestBatches:
    def test_pairs_come_first_with_their_own_report_and_labels(self, prepared: PreparedVolumes) -> None:
        batch = VolumeLoader([prepared], SPEC, CONFIG).batch(0)
        known = {volume.id: volume for volume in prepared.volumes}

        assert batch.images.shape == (4, 1, 24, 24, 24)
        assert batch.images.dtype == torch.float32
        assert batch.images.abs().max() <= 1.0
        assert batch.pairs == 2
        assert list(batch.reports) == [known[name].report for name in batch.ids[:2]]
        assert [known[name].labels.get("Lung nodule", -1) for name in batch.ids] == batch.labels[:, 9].tolist()
        assert batch.patients == tuple(known[name].patient for name in batch.ids)

    def test_the_centre_crop_is_the_models_input(self, prepared: PreparedVolumes, tmp_path: Path) -> None:
        manifest = make_manifest(tmp_path, paired=5, image_only=3)
        images = {entry.id: entry.image for entry in manifest.entries}
        batch = VolumeLoader([prepared], SPEC, dataclasses.replace(CONFIG, variation=PLAIN)).batch(2)
        for name, image in zip(batch.ids, batch.images, strict=True):
            expected = prepare_for_model(read_volume(images[name]), SPEC).array
            assert np.abs(image[0].numpy() - expected).max() <= 0.5 / 1000 + 1e-6
            volume = next(volume for volume in prepared.volumes if volume.id == name)
            assert torch.equal(model_input(prepared, volume, SPEC), image[0])

    def test_small_volumes_are_padded_as_the_spec_says(self, prepared: PreparedVolumes) -> None:
        spec = dataclasses.replace(SPEC, size=(64, 64, 64), padding=-0.5)
        batch = VolumeLoader([prepared], spec, dataclasses.replace(CONFIG, variation=PLAIN)).batch(0)

        assert (batch.images[:, 0, 0, 0, 0] == -0.5).all()

    def test_volumes_lent_as_images_or_kept_apart(self, prepared: PreparedVolumes) -> None:
        kept_apart = dataclasses.replace(CONFIG, lend_images=False)
        batches = [VolumeLoader([prepared], SPEC, kept_apart).batch(step) for step in range(3)]
        alone = {name for batch in batches for name in batch.ids[batch.pairs :]}

        assert alone == {"scan005", "scan006", "scan007"}


class TestOrder:
    sampler = Sampler(paired=7, image_only=5, paired_batch=2, image_only_batch=4, seed=1)

    def test_every_volume_comes_once_in_an_epoch(self) -> None:
        drawn = [one for step in range(35) for one in self.sampler.draws(step)]
        pairs = [one.index for one in drawn if one.is_paired]
        alone = [one.index for one in drawn if not one.is_paired]

        assert all(sorted(pairs[start : start + 7]) == list(range(7)) for start in range(0, 70, 7))
        assert all(sorted(alone[start : start + 5]) == list(range(5)) for start in range(0, 140, 5))
        assert pairs[:7] != pairs[7:14]

    def test_the_mixture_is_exact_in_every_step_and_on_every_rank(self) -> None:
        for step in range(10):
            for rank in range(2):
                counts = Counter(one.is_paired for one in self.sampler.draws(step, rank=rank, world=2))
                assert counts == {True: 1, False: 2}

    @pytest.mark.parametrize("world", [2])
    def test_ranks_together_draw_the_global_batch(self, world: int) -> None:
        together = [one for rank in range(world) for one in self.sampler.draws(3, rank=rank, world=world)]

        assert sorted(together, key=lambda one: one.position) == self.sampler.draws(3)

    def test_what_cannot_be_is_refused(self) -> None:
        with pytest.raises(ValueError, match="2 volumes with a report needs as many, and there are 1"):
            Sampler(paired=1, image_only=5, paired_batch=2, image_only_batch=0, seed=0)
        with pytest.raises(ValueError, match="at least one"):
            Sampler(paired=1, image_only=5, paired_batch=0, image_only_batch=0, seed=0)
        with pytest.raises(ValueError, match="4 ranks cannot share"):
            self.sampler.draws(0, rank=0, world=4)
        with pytest.raises(ValueError, match="no whole number"):
            _ = dataclasses.replace(CONFIG, image_only_share=0.3).image_only_batch


class TestReproducibility:
    def test_two_ranks_read_what_one_reads(self, prepared: PreparedVolumes) -> None:
        whole = first(VolumeLoader([prepared], SPEC, CONFIG), 4)
        parts = [first(VolumeLoader([prepared], SPEC, CONFIG, rank=rank, world=2), 4) for rank in range(2)]
        for step, batch in enumerate(whole):
            ranks = [part[step] for part in parts]
            order = [rank.images[: rank.pairs] for rank in ranks] + [rank.images[rank.pairs :] for rank in ranks]
            assert torch.equal(torch.cat(order), batch.images)
            assert sum((rank.reports for rank in ranks), ()) == batch.reports

    def test_a_restored_state_goes_on_with_the_same_batches(self, prepared: PreparedVolumes) -> None:
        loader = VolumeLoader([prepared], SPEC, CONFIG)
        first(loader, 3)
        state = loader.state_dict()
        expected = first(loader, 2)
        again = VolumeLoader([prepared], SPEC, CONFIG)
        again.load_state_dict(state)

        for batch, other in zip(first(again, 2), expected, strict=True):
            assert_same(batch, other)

    def test_workers_change_nothing_and_draw_nothing_from_the_run(self, prepared: PreparedVolumes) -> None:
        expected = first(VolumeLoader([prepared], SPEC, CONFIG), 5)[2:]
        loader = VolumeLoader([prepared], SPEC, dataclasses.replace(CONFIG, workers=2))
        loader.load_state_dict(VolumeLoader([prepared], SPEC, CONFIG).state_dict() | {"step": 2})
        before = torch.get_rng_state()
        batches = first(loader, 3)

        assert torch.equal(torch.get_rng_state(), before)
        assert loader.step == 5
        for batch, other in zip(batches, expected, strict=True):
            assert_same(batch, other)

    @pytest.mark.parametrize(
        "change", [{"seed": 6}, {"batch_size": 8}, {"image_only_share": 0.25}, {"variation": PLAIN}], ids=str
    )
    def test_a_state_of_another_run_is_refused(self, prepared: PreparedVolumes, change: dict[str, object]) -> None:
        loader = VolumeLoader([prepared], SPEC, CONFIG)
        other = VolumeLoader([prepared], SPEC, dataclasses.replace(CONFIG, **change))
        with pytest.raises(PreparedDataError, match="start a new run"):
            other.load_state_dict(loader.state_dict())

    def test_a_file_lost_during_the_run_stops_it_by_name(self, tmp_path: Path) -> None:
        prepare(make_manifest(tmp_path / "in", paired=4), tmp_path / "out", PrepareOptions(spec=SPEC))
        loader = VolumeLoader([PreparedVolumes(tmp_path / "out")], SPEC, CONFIG)
        for path in (tmp_path / "out").glob("volumes/*/*.b2nd"):
            path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(PreparedDataError, match=r'"scan00\d" is missing or damaged'):
            loader.batch(0)

    def test_a_data_set_that_is_named_twice_is_refused(self, prepared: PreparedVolumes, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(prepared.folder)
        for again in (prepared, PreparedVolumes(tmp_path / "link")):
            with pytest.raises(ValueError, match="every data set once, found twice: out"):
                VolumeLoader([prepared, again], SPEC, CONFIG)

    def test_a_patient_in_different_splits_of_two_data_sets_is_refused(
        self, prepared: PreparedVolumes, tmp_path: Path
    ) -> None:
        held_out = tmp_path / "held-out"
        shutil.copytree(prepared.folder, held_out)
        index = held_out / "index.jsonl"
        index.write_text(index.read_text().replace('"train"', '"test"'))
        message = r"8 in several, such as \S+ \(test of held-out, train of out\)"
        with pytest.raises(PreparedDataError, match=message):
            VolumeLoader([prepared, PreparedVolumes(held_out)], SPEC, CONFIG)
        index.write_text(index.read_text().replace('"patient": "', '"patient": "other-'))
        VolumeLoader([prepared, PreparedVolumes(held_out)], SPEC, CONFIG)


class TestVariation:
    record = Record(
        shape=(40, 40, 40),
        affine=(1.0,) * 16,
        body=((4, 36), (10, 30), (0, 40)),
        minimum_hu=-1000,
        source_sha256="",
        voxels_sha256="",
        fingerprint=(),
    )

    @pytest.mark.parametrize("report", ["Left effusion.", "RIGHT lung", "Lingular band.", "Middle lobe atelectasis"])
    def test_reports_that_name_a_side(self, report: str) -> None:
        assert names_side(report)

    @pytest.mark.parametrize("report", ["Normal chest CT.", "An upright patient.", "Cleft.", "Mediastinum is normal."])
    def test_reports_that_name_none(self, report: str) -> None:
        assert not names_side(report)

    def test_volumes_with_a_report_are_not_mirrored(self, prepared: PreparedVolumes) -> None:
        only_mirror = Variation(mirror=1.0, move=0.0, offset_hu=0.0, gain=0.0)
        config = dataclasses.replace(CONFIG, variation=only_mirror)
        never = dataclasses.replace(CONFIG, variation=dataclasses.replace(only_mirror, mirror=0.0))
        for step in range(3):
            mirrored = VolumeLoader([prepared], SPEC, config).batch(step)
            plain = VolumeLoader([prepared], SPEC, never).batch(step)
            assert torch.equal(mirrored.images[:2], plain.images[:2])
            assert torch.equal(mirrored.images[2:], plain.images[2:].flip(2))
            assert not torch.equal(mirrored.images[2:], plain.images[2:])

    def test_the_axis_between_left_and_right_is_the_one_that_is_mirrored(self) -> None:
        ramp = np.arange(4, dtype=np.int16)[None, None, :] * np.ones((4, 4, 1), dtype=np.int16)
        change = Change(start=(0, 0, 0), is_mirrored=True)
        image = render(lambda start, size: ramp, change, (4, 4, 4), mirror_axis=2, window=(-1000.0, 1000.0))

        assert torch.allclose(image[0, 0] * 1000, torch.tensor([3.0, 2.0, 1.0, 0.0]), atol=1e-3)

    def test_crops_lie_in_the_body_or_hold_all_of_it(self) -> None:
        starts = np.array(
            [draw(self.record, (16, 24, 40), Variation(), [seed], may_mirror=False).start for seed in range(200)]
        )

        assert (starts.min(axis=0), starts.max(axis=0)) == (
            pytest.approx([4, 6, 0]),
            pytest.approx([20, 10, 0]),
        )

    def test_turning_and_scaling_agree_with_the_geometry(self) -> None:
        grid = np.stack(np.meshgrid(*[np.arange(60.0)] * 3, indexing="ij"))
        values = (10 * grid[0] - 5 * grid[1] + 3 * grid[2]).astype(np.int16)

        def read(start: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
            return values[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))]

        angle = np.deg2rad(8.0)
        matrix = 1.05 * np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        size, start = (20, 24, 16), (20, 18, 22)
        change = Change(start=start, matrix=tuple(matrix.ravel().tolist()))
        image = render(read, change, size, mirror_axis=0, window=(-1000.0, 1000.0)).numpy() * 1000

        offsets = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in size], indexing="ij"))
        centre = np.asarray(start) + (np.asarray(size) - 1) / 2
        places = np.einsum("ab,bxyz->axyz", matrix, offsets) + centre[:, None, None, None]
        expected = 10 * places[0] - 5 * places[1] + 3 * places[2]
        assert np.abs(image - expected).max() < 0.05

    def test_intensities_change_about_air(self) -> None:
        change = Change(start=(0, 0, 0), gain=1.1, offset_hu=5.0)
        hu = np.array([-1000, 0, 500], dtype=np.int16).reshape(3, 1, 1)
        image = render(lambda start, size: hu, change, (3, 1, 1), mirror_axis=0, window=(-1000.0, 1000.0))

        assert torch.allclose(image.flatten() * 1000, torch.tensor([-995.0, 105.0, 655.0]), atol=1e-2)
