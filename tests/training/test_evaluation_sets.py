"""Which cases count and what they are labelled for: the rule for reconstructions, and both label sets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from data_sets import SPEC
from data_sets import make_manifest
from data_sets import write_chest
from evaluation_sets import GRID
from evaluation_sets import prepare_chests

from colipri_core.io import read_volume
from colipri_core.preprocess import prepare as prepare_for_model
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.layouts.rad_chestct import RAD_CHESTCT_COLUMNS
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest_files import read_manifest
from colipri_training.data.manifest_files import write_manifest
from colipri_training.data.prepare import PrepareOptions
from colipri_training.data.prepare import prepare
from colipri_training.data.prepared import PreparedDataError
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.prepared import Record
from colipri_training.evaluation.cases import PreparedSource
from colipri_training.evaluation.evaluation_set import choose
from colipri_training.evaluation.evaluation_set import findings_text
from colipri_training.evaluation.label_sets import label_set


def volume(name: str, *, study: str = "", spacing: tuple[float, ...] = (), report: str | None = None) -> PreparedVolume:
    record = Record(
        shape=(1, 1, 1),
        affine=tuple(np.eye(4).ravel()),
        body=((0, 1),) * 3,
        minimum_hu=-1000,
        source_sha256="",
        voxels_sha256="",
        fingerprint=(),
        source_spacing_mm=spacing,
    )
    return PreparedVolume(
        id=name, patient=name, split="test", report=report, labels={}, file="", record=record, study=study
    )


def names(volumes: list[PreparedVolume], *, distinct: bool = True, most: int | None = None) -> list[str]:
    return [chosen.id for chosen in choose(volumes, distinct_reports=distinct, most=most).volumes]


class TestRule:
    def test_the_finest_reconstruction_in_the_slice_is_kept(self) -> None:
        thin_slices = volume("s_1", study="s", spacing=(0.9, 0.9, 0.5))
        fine_pixels = volume("s_2", study="s", spacing=(0.6, 0.6, 3.0))

        assert names([thin_slices, fine_pixels, volume("t_1", study="t", spacing=(1.0, 1.0, 1.0))]) == ["s_2", "t_1"]

    def test_among_equals_the_first_by_name_is_kept(self) -> None:
        assert names([volume(name, study="s", spacing=(0.7, 0.7, 1.0)) for name in ("s_2", "s_1")]) == ["s_1"]
        assert names([volume(name, study="s") for name in ("s_2", "s_1")]) == ["s_1"]

    def test_volumes_without_a_study_stand_for_themselves(self) -> None:
        assert names([volume("a"), volume("b")]) == ["a", "b"]

    def test_a_repeated_findings_text_is_dropped_from_the_test_cases(self) -> None:
        told = [
            volume("a", report="Findings: Clear lungs.\nImpression: Normal."),
            volume("b", report="Findings: clear  lungs.\nImpression: Nothing new."),
            volume("c", report="Findings: A nodule."),
        ]
        assert names(told) == ["a", "c"]
        assert names(told, distinct=False) == ["a", "b", "c"]

    def test_volumes_without_a_report_repeat_nothing(self) -> None:
        assert names([volume("a"), volume("b"), volume("c", report="")]) == ["a", "b", "c"]

    def test_a_report_without_sections_is_compared_as_a_whole(self) -> None:
        assert findings_text("Clear  lungs.") == "clear lungs."

    def test_a_part_is_drawn_by_hash_and_does_not_depend_on_the_order(self) -> None:
        volumes = [volume(f"v{number}") for number in range(30)]
        few = names(volumes, most=5)

        assert len(few) == 5
        assert sorted(few) == sorted(names(volumes[::-1], most=5))
        assert few != [f"v{number}" for number in range(5)]

    def test_it_says_what_was_left_out(self) -> None:
        chosen = choose(
            [volume("s_1", study="s", report="Clear."), volume("s_2", study="s"), volume("t", report="Clear.")],
            distinct_reports=True,
        )
        assert "3 volumes; 2 after one reconstruction a study" in chosen.notes[0]
        assert "1 after dropping" in chosen.notes[0]

    def test_no_volume_gives_no_note(self) -> None:
        assert choose([], distinct_reports=True).notes == ()


class TestPreparedStudies:
    def test_study_and_spacing_come_through_manifest_and_preparation(self, tmp_path: Path) -> None:
        image = write_chest(tmp_path / "in" / "a.nii.gz", spacing=(9.0, 8.0, 10.0))
        entry = Entry(id="a_1", image=image, patient="a", split="test", study="a")
        write_manifest(tmp_path / "m.csv", Manifest(entries=(entry,)))
        manifest = read_manifest(tmp_path / "m.csv")
        prepare(manifest, tmp_path / "out", PrepareOptions(spec=SPEC))
        found = PreparedVolumes(tmp_path / "out").volumes[0]

        assert found.study == "a"
        assert found.record.source_spacing_mm == pytest.approx((9.0, 8.0, 10.0))

    def test_an_index_from_before_studies_is_still_read(self, tmp_path: Path) -> None:
        prepare(make_manifest(tmp_path / "in", paired=1), tmp_path / "out", PrepareOptions(spec=SPEC))
        index = tmp_path / "out" / "index.jsonl"
        index.write_text(index.read_text().replace(', "study": ""', ""))

        assert PreparedVolumes(tmp_path / "out").volumes[0].study == ""


class TestLabelSets:
    def test_ct_rate_has_18_findings(self) -> None:
        chosen = label_set(CT_RATE_FINDINGS)
        scores = np.random.default_rng(0).random((3, 18))

        assert (chosen.name, chosen.findings) == ("ct-rate-18", CT_RATE_FINDINGS)
        assert (chosen.scores(scores) == scores).all()

    def test_rad_chestct_has_16_and_the_greater_calcification_counts(self) -> None:
        chosen = label_set(RAD_CHESTCT_COLUMNS)
        scores = np.zeros((2, 18))
        scores[0, 1], scores[0, 4], scores[1, 4], scores[:, 5] = 0.2, 0.7, 0.1, 0.9
        found = chosen.scores(scores)
        column = chosen.findings.index("Arterial wall calcification")

        assert chosen.name == "rad-chestct-16"
        assert len(chosen.findings) == 16
        assert not {"Mosaic attenuation pattern", "Coronary artery wall calcification"} & set(chosen.findings)
        assert found[:, column].tolist() == [0.7, 0.1]
        assert found[:, chosen.findings.index("Hiatal hernia")].tolist() == [0.9, 0.9]

    def test_labels_of_ct_rate_join_for_rad_chestct(self) -> None:
        chosen = label_set(RAD_CHESTCT_COLUMNS)
        cases = [
            {"Arterial wall calcification": 0, "Coronary artery wall calcification": 1},
            {"Arterial wall calcification": 0},
            {"Emphysema": 1},
        ]
        column = chosen.labels(cases)[:, chosen.findings.index("Arterial wall calcification")]
        assert column[:2].tolist() == [1.0, 0.0]
        assert math.isnan(column[2])

    def test_a_score_that_is_missing_is_missing(self) -> None:
        chosen = label_set(["Emphysema", "Lung nodule"])
        spread = chosen.spread(np.array([[0.3, 0.8]]))

        assert np.isnan(spread).sum() == 16
        assert label_set(["Lung nodule", "Cardiomegaly"]).scores(spread)[0, 1] == 0.8

    def test_other_labels_are_refused(self) -> None:
        with pytest.raises(ValueError, match="labels of the 18 findings"):
            label_set(["fracture"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_chests(tmp_path_factory.mktemp("set"), splits={"train": 2, "test": 3}, labelled=False)


class TestPreparedSource:
    def test_its_image_is_what_the_engine_would_see(self, folder: Path) -> None:
        source = PreparedSource(folder)
        case = source.cases("test", GRID)[1]
        expected = prepare_for_model(read_volume(folder.parent / "in" / f"{case.id}.nii.gz"), GRID).array

        assert np.abs(source.image(case, GRID).numpy() - expected).max() < 1e-3

    def test_an_external_set_is_tested_whole(self, folder: Path) -> None:
        source = PreparedSource(folder, external=True)

        assert [len(source.cases(split, GRID)) for split in ("train", "validation", "test")] == [0, 0, 5]

    def test_missing_labels_are_read_from_the_reports(self, folder: Path) -> None:
        source = PreparedSource(folder)

        assert [case.labels["Pleural effusion"] for case in source.cases("test", GRID)] == [1, 0, 1]
        assert any("rule-based labeller" in note for note in source.notes)

    def test_another_grid_is_refused(self, folder: Path) -> None:
        with pytest.raises(PreparedDataError, match="Expected volumes in RAS"):
            PreparedSource(folder).check(SPEC)
