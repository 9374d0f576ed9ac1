"""Ranking: the cases a model is least sure of come first, answers are kept as they come, what fails is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.cli.main import main
from colipri_core.errors import Cancelled
from colipri_core.errors import CapabilityError
from colipri_core.errors import UnreadableInputError
from colipri_core.inference.structures import expected_error
from colipri_core.io import write_volume
from colipri_core.project import PROJECT_FILE
from colipri_core.project import LabelProject
from colipri_core.project import Ranked
from colipri_core.ranking import rank_cases

NAMES = ("a.nii.gz", "b.nii.gz", "c.nii.gz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scans = tmp_path / "scans"
    scans.mkdir()
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        voxels = rng.integers(-1000, 400 * (number + 1), (24, 24, 20)).astype(np.int16)
        write_volume(cc.Volume(voxels=voxels, affine=np.diag([8.0, 8.0, 8.0, 1.0])), scans / name)
    return scans


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_bundle(tmp_path_factory.mktemp("bundles") / "random")


class TestScore:
    def test_a_sure_model_expects_no_error_and_an_undecided_one_its_share(self) -> None:
        sure = np.zeros((3, 4, 4, 4), dtype=np.float32)
        sure[0], sure[0, :2], sure[1, :2] = 1, 0, 1
        assert expected_error(sure) == 0
        torn = sure.copy()
        torn[1, :2], torn[2, :2] = 0.6, 0.4
        assert expected_error(torn) == pytest.approx(0.4)

    def test_it_does_not_depend_on_how_much_air_is_around(self) -> None:
        some = np.zeros((2, 4, 4, 4), dtype=np.float32)
        some[0], some[1] = 0.3, 0.7
        wide = np.zeros((2, 12, 4, 4), dtype=np.float32)
        wide[0] = 1
        wide[:, :4] = some
        assert expected_error(wide) == pytest.approx(expected_error(some))

    def test_nothing_outlined_is_no_uncertainty(self) -> None:
        nothing = np.zeros((2, 4, 4, 4), dtype=np.float32)
        nothing[0] = 1
        assert expected_error(nothing) == 0


def test_the_least_sure_comes_first_and_it_is_kept(folder: Path, bundle: Path) -> None:
    project = LabelProject(folder)
    project.mark("a.nii.gz", "done")
    with cc.open_engine(bundle, device="cpu") as engine:
        assert rank_cases(project, engine) == {}
        with engine.open(cc.read_volume(folder / "b.nii.gz")) as session:
            expected = session.segment().uncertainty
    again = LabelProject(folder)
    assert set(again.ranked) == {"b.nii.gz", "c.nii.gz"}
    assert again.ranked["b.nii.gz"].value == pytest.approx(expected, abs=1e-4)
    assert again.ranked["b.nii.gz"].model == "random"
    values = [case.uncertainty for case in again.cases]
    assert values[0] >= values[1] > 0
    assert values[2] is None
    assert [case.name for case in again.cases][2] == "a.nii.gz"
    assert again.next_open() == again.cases[0].name
    again.mark(again.cases[0].name, "done")
    assert set(LabelProject(folder).ranked) == {"b.nii.gz", "c.nii.gz"}


def test_a_cancelled_ranking_keeps_what_it_has_and_the_next_goes_on(folder: Path, bundle: Path) -> None:
    project, cancel = LabelProject(folder), cc.CancelToken()

    def progress(fraction: float, message: str) -> None:
        if "c.nii.gz" in message:
            cancel.cancel()

    with cc.open_engine(bundle, device="cpu") as engine:
        with pytest.raises(Cancelled):
            rank_cases(project, engine, progress=progress, cancel=cancel)
        assert set(LabelProject(folder).ranked) == {"a.nii.gz", "b.nii.gz"}
        asked: list[str] = []
        rank_cases(project, engine, progress=lambda _, message: asked.append(message))
    assert set(project.ranked) == set(NAMES)
    assert not any("a.nii.gz" in message for message in asked)


def test_another_model_begins_anew_and_what_cannot_be_read_is_said(folder: Path, bundle: Path) -> None:
    project = LabelProject(folder)
    project.rank("a.nii.gz", Ranked(value=0.9, model="other", sha256="f" * 64))
    (folder / "c.nii.gz").write_bytes(b"no image")
    with cc.open_engine(bundle, device="cpu") as engine:
        failed = rank_cases(project, engine)
    assert set(failed) == {"c.nii.gz"}
    assert {item.model for item in project.ranked.values()} == {"random"}


def test_a_model_without_structures_cannot_rank(folder: Path, tmp_path: Path) -> None:
    headless = save_random_bundle(tmp_path / "headless", structures=False)
    with cc.open_engine(headless, device="cpu") as engine, pytest.raises(CapabilityError, match="cannot rank"):
        rank_cases(LabelProject(folder), engine)


@pytest.mark.parametrize("item", [{"value": 2.0, "model": "m", "sha256": "0"}, {"value": 0.1}, 3])
def test_a_damaged_rank_is_refused(folder: Path, item: object) -> None:
    document = {"format": "colipri-project", "version": 1, "marks": {}, "uncertainty": {"a.nii.gz": item}}
    (folder / PROJECT_FILE).write_text(json.dumps(document))
    with pytest.raises(UnreadableInputError, match="Move it away"):
        LabelProject(folder)


def test_the_command_lists_and_ranks(folder: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["project", str(folder), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["progress"] == {"open": 3, "done": 0, "review": 0}
    assert [case["uncertainty"] for case in listed["cases"]] == [None] * 3
    (folder / "b.nii.gz").write_bytes(b"no image")
    status = main(["project", str(folder), "--rank", "--model", str(bundle), "--device", "cpu", "--json", "--quiet"])
    ranked = json.loads(capsys.readouterr().out)
    assert status == 3
    assert [case["ranked_by"] for case in ranked["cases"][:2]] == ["random"] * 2
    assert ranked["cases"][0]["uncertainty"] >= ranked["cases"][1]["uncertainty"]
    assert [item["case"] for item in ranked["failed"]] == ["b.nii.gz"]
