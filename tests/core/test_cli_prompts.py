"""`colipri segment` with prompts: points, boxes and strokes in RAS mm become a labelmap, one CT or many."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from chests import chest
from growing import CARD
from growing import Grower
from random_bundles import save_random_bundle

from colipri_core.cli.main import main
from colipri_core.cli.prompts import PromptTexts
from colipri_core.editing.log import replay_log
from colipri_core.io import read_labelmap
from colipri_core.io import write_volume
from colipri_core.prompts import Box
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Scribble

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

LEFT, RIGHT = "-53,35,-250", "83,35,-250"
VOLUME = chest().reoriented("LPS")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_bundle(tmp_path_factory.mktemp("models") / "random"))


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_volume(VOLUME, tmp_path_factory.mktemp("ct") / "chest.nii.gz")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: str):
    """Runs `colipri segment` in this process, its interactive model a region grower."""
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "cache"))
    module = ModuleType("colipri_core.inference.interactive")
    module.load_segmenter = lambda *_, **__: Grower()
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def run(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
        found = main(["segment", *map(str, arguments), "--model", bundle, "--json"])
        captured = capsys.readouterr()
        assert found == status, captured
        return json.loads(captured.out)

    return run


def test_points_outline_one_object_in_the_cts_own_grid(cli, ct: Path, tmp_path: Path) -> None:
    output, log = tmp_path / "mask.nii.gz", tmp_path / "edits.json"
    found = cli(ct, "--point", LEFT, "--point", f"{RIGHT},+", "--name", "Lungs", "--log", log, "-o", output)
    written = read_labelmap(output)
    assert written.geometry == VOLUME.geometry
    assert [segment.name for segment in written.segments] == ["Lungs"]
    inside = VOLUME.voxels[written.labelmap == 1]
    assert inside.size > 1000
    assert inside.mean() == pytest.approx(-820, abs=20)
    assert found["model"]["name"] == CARD.name
    assert [prompt["positive"] for prompt in found["prompts"]] == [True, True]
    assert found["segments"][0]["volume_ml"] == pytest.approx(inside.size * 6 * 6 * 7 / 1000, rel=1e-3)
    assert np.array_equal(replay_log(json.loads(log.read_text())).labelmap, written.labelmap)


def test_a_negative_point_takes_away(cli, ct: Path, tmp_path: Path) -> None:
    whole = cli(ct, "--point", LEFT, "-o", tmp_path / "a.nii.gz")
    part = cli(ct, "--point", LEFT, "--point", "-53,35,-290,-", "-o", tmp_path / "b.seg.nrrd")
    assert 0 < part["segments"][0]["volume_ml"] < whole["segments"][0]["volume_ml"]


def test_a_phrase_names_its_object(cli, ct: Path, tmp_path: Path) -> None:
    found = cli(ct, "--phrase", "pleural effusion", "-o", tmp_path / "mask.nii.gz")
    assert found["segments"][0]["name"] == "pleural effusion"
    assert found["segments"][0]["volume_ml"] > 0


def test_several_cts_go_to_a_folder_and_one_that_fails_does_not_stop_the_rest(cli, ct: Path, tmp_path: Path) -> None:
    broken, elsewhere = tmp_path / "broken.nii.gz", tmp_path / "elsewhere.nii.gz"
    broken.write_bytes(b"no image")
    moved = VOLUME.affine.copy()
    moved[:3, 3] += 5000
    write_volume(type(VOLUME)(voxels=VOLUME.voxels, affine=moved), elsewhere)
    results = tmp_path / "results"
    results.mkdir()
    found = cli(broken, ct, elsewhere, ct, "--point", LEFT, "-o", results, status=2)["cases"]
    assert [case.get("error", {}).get("code", "ok") for case in found] == ["unreadable-input", "ok", "usage", "usage"]
    assert "outside" in found[2]["error"]["message"]
    assert "different names" in found[3]["error"]["message"]
    assert sorted(path.name for path in results.iterdir()) == [
        "sub-chest_desc-prompted_dseg.json",
        "sub-chest_desc-prompted_dseg.nii.gz",
    ]
    assert read_labelmap(results / "sub-chest_desc-prompted_dseg.nii.gz").geometry == VOLUME.geometry


def test_structures_of_several_cts(cli, ct: Path, tmp_path: Path) -> None:
    other = write_volume(chest(seed=1), tmp_path / "other.nii.gz")
    found = cli(ct, other, "--structure", "Heart", "--suffix", ".seg.nrrd", "-o", tmp_path)
    assert [case["case"] for case in found["cases"]] == ["chest", "other"]
    assert read_labelmap(tmp_path / "sub-other_desc-structures_dseg.seg.nrrd").segments[0].name == "Heart"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--point", "1,2"], "R,A,S"),
        (["--point", "1,2,x"], "R,A,S"),
        (["--point", "1,2,nan"], "R,A,S"),
        (["--point", "1,2,3,4,5,6"], "R,A,S"),
        (["--box", "1,2,3"], "two opposite corners"),
        (["--lasso", "1,2,3,4,5,6"], "three corners"),
        (["--scribble", ""], "R,A,S"),
        (["--phrase", " "], "words"),
        (["--point", LEFT, "--structure", "Heart"], "got both"),
        (["--name", "Nodule"], "got none"),
        (["--point", "5000,0,0"], "outside"),
    ],
)
def test_wrong_use_is_said(cli, ct: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    error = cli(ct, *arguments, "-o", tmp_path / "mask.nii.gz", status=2)["error"]
    assert error["code"] == "usage"
    assert said in error["message"]
    assert not (tmp_path / "mask.nii.gz").exists()


def test_several_cts_need_a_folder(cli, ct: Path, tmp_path: Path) -> None:
    assert "folder" in cli(ct, ct, "--point", LEFT, "-o", tmp_path / "mask.nii.gz", status=2)["error"]["message"]
    log = ["--log", tmp_path / "log.json"]
    assert "--log" in cli(ct, ct, "--point", LEFT, *log, "-o", tmp_path, status=2)["error"]["message"]


def test_texts_become_prompts_from_coarse_to_fine() -> None:
    texts = PromptTexts(
        points=["1,2,3,-", " 4, 5 ,6 , +"],
        scribbles=["1,2,3,4,5,6"],
        lassos=["0,0,0,1,0,0,0,1,0,-"],
        boxes=["0,0,0,9,9,9"],
        phrases=["ground  glass"],
    )
    assert texts.parsed() == (
        Phrase(text="ground glass"),
        Box(lower_ras=(0, 0, 0), upper_ras=(9, 9, 9)),
        Lasso(ras=((0, 0, 0), (1, 0, 0), (0, 1, 0)), positive=False),
        Scribble(ras=((1, 2, 3), (4, 5, 6))),
        Point(ras=(1, 2, 3), positive=False),
        Point(ras=(4, 5, 6)),
    )


def test_surfaces_are_written_beside_the_labelmap(cli, ct: Path, tmp_path: Path) -> None:
    found = cli(ct, "--point", LEFT, "--name", "Left lung", "--surface", "stl", "-o", tmp_path / "mask.nii.gz")
    assert found["surfaces"] == [str(tmp_path / "mask_Leftlung.stl")]
    assert (tmp_path / "mask_Leftlung.stl").read_bytes()[:9] == b"SPACE=RAS"


def test_a_long_phrase_is_cut_where_it_names_things(cli, ct: Path, tmp_path: Path) -> None:
    phrase = "nodule " * 39
    found = cli(ct, "--phrase", phrase, "--surface", "stl", "-o", tmp_path / "mask.nii.gz")
    (name,) = [segment["name"] for segment in found["segments"]]
    assert len(name) == 60
    assert name.startswith("nodule nodule ")
    assert name.endswith("...")
    assert found["prompts"][0]["text"] == " ".join(["nodule"] * 39)
    (surface,) = found["surfaces"]
    assert len(Path(surface).name) < 100
    assert Path(surface).is_file()


def test_small_volumes_are_shown(cli, ct: Path, bundle: str, tmp_path: Path, capsys) -> None:
    output = tmp_path / "mask.nii.gz"
    volume_ml = cli(ct, "--point", LEFT, "-o", output)["segments"][0]["volume_ml"]
    assert main(["segment", str(ct), f"--point={LEFT}", "-o", str(output), "--model", bundle]) == 0
    assert f" {volume_ml:.2f} " in capsys.readouterr().out
