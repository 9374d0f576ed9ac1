"""`colipri index`, `similar` and `search` as scripts use them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lancedb
import pytest
from chests import chest
from random_bundles import save_random_bundle
from support.serving import serving

from colipri_core.cli.main import main
from colipri_core.engine import open_engine
from colipri_core.io import write_volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

REPORT = "There is a pleural effusion. \u80f8\u6c34\u3002"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_bundle(tmp_path_factory.mktemp("models") / "random"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number in range(3):
        write_volume(chest(spacing=(12, 12, 14), seed=number), folder / f"scan{number}.nii.gz")
    (folder.parent / "reports.csv").write_text(
        f"case,report,age,sex,tags,date\nscan0,,40,M,,2024-01-31\nscan1,{REPORT},61,F,ward 3,2024-05-31\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Runs a command in this process; returns exit status, the JSON document and stderr."""
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))

    def run(*arguments: str | Path, status: int = 0) -> tuple[dict[str, Any], str]:
        found = main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert found == status, captured
        return json.loads(captured.out), captured.err

    return run


@pytest.fixture(scope="module")
def filled(bundle: str, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the three scans."""
    store = tmp_path_factory.mktemp("stores") / "store"
    reports = scans.parent / "reports.csv"
    assert main(["index", "add", str(store), str(scans), "--reports", str(reports), "--model", bundle, "--quiet"]) == 0
    return store


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(filled, tmp_path / "store"))


def test_similar_lists_the_nearest_first(cli, filled: Path, scans: Path, bundle: str) -> None:
    found, _ = cli("similar", scans / "scan1.nii.gz", "--store", filled, "-k", "2", "--model", bundle)

    assert list(found) == ["matches", "model"]
    assert [list(match) for match in found["matches"]] == [["case", "distance", "path", "report"]] * 2
    first, second = found["matches"]
    assert (first["case"], first["report"]) == ("scan1", REPORT)
    assert first["path"] == str(scans / "scan1.nii.gz")
    assert 0 <= first["distance"] < second["distance"]
    assert found["model"]["name"] == "random"


def test_search_lists_cases_for_a_phrase_and_heeds_filters(cli, filled: Path, bundle: str) -> None:
    found, _ = cli("search", "lung nodule", "--store", filled, "--model", bundle)
    assert sorted(match["case"] for match in found["matches"]) == ["scan0", "scan1", "scan2"]
    distances = [match["distance"] for match in found["matches"]]
    assert distances == sorted(distances)
    for option, value in (
        ("--finding", "pleural fluid"),
        ("--tag", "ward 3"),
        ("--sex", "f"),
        ("--age", "60..61"),
        ("--age", "61"),
        ("--date", "2024-02-01.."),
    ):
        found, _ = cli("search", "lung nodule", "--store", filled, option, value, "--model", bundle)
        assert [match["case"] for match in found["matches"]] == ["scan1"], option
    assert cli("search", "x", "--store", filled, "--age", "..39", "--model", bundle)[0]["matches"] == []


def test_list_and_info(cli, filled: Path) -> None:
    cases, _ = cli("index", "list", filled)
    info, _ = cli("index", "info", filled)
    assert [case["case"] for case in cases["cases"]] == ["scan0", "scan1", "scan2"]
    assert cases["cases"][1]["findings"] == ["Pleural effusion"]
    assert (cases["cases"][1]["age"], cases["cases"][1]["sex"], cases["cases"][1]["tags"]) == (61.0, "F", ["ward 3"])
    assert (info["cases"], info["model"]["name"], info["indexed"]) == (3, "random", [])


def test_a_draft_is_worded_as_the_sentences_of_a_store(cli, filled: Path, scans: Path, bundle: str) -> None:
    asked = ["report", scans / "scan1.nii.gz", "--threshold", "0.01", "--model", bundle]
    plain, _ = cli(*asked)
    worded, _ = cli(*asked, "--store", filled)

    assert _sources(plain) == {"findings"}
    sentence = next(each for each in _sentences(worded) if each["support"]["source"] == "similar case scan1")
    assert sentence["text"] == "There is a pleural effusion."
    assert sentence["finding"] == "Pleural effusion"


def test_a_servers_store_goes_by_its_name(cli, filled: Path, scans: Path, bundle: str, tmp_path: Path) -> None:
    scan = scans / "scan1.nii.gz"
    questions = (
        ["similar", scan, "-k", "2"],
        ["search", "lung nodule", "--tag", "ward 3"],
        ["report", scan, "--threshold", "0.01"],
    )
    with (
        open_engine(bundle, device="cpu", cache_dir=tmp_path / "cache") as engine,
        serving(engine, stores={"ward": str(filled)}) as url,
    ):
        for asked in questions:
            here, _ = cli(*asked, "--store", filled, "--model", bundle)
            there, _ = cli(*asked, "--store", "ward", "--model", url)
            assert words(there) == words(here)
            mounted, _ = cli(*asked, "--store", filled, "--model", url)
            assert words(mounted) == words(here)
        error, err = cli("similar", scan, "--store", "attic", "--model", url, status=3)
    assert error["error"]["code"] == "unfit-store"
    assert "ward" in err


def words(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The cases that were found, or the sentences that were written."""
    if "matches" in found:
        return [(match["case"], match["report"]) for match in found["matches"]]
    return [(sentence["text"],) for section in found["sections"] for sentence in section["sentences"]]


def test_remove_then_add_again_goes_on(cli, store: Path, scans: Path, bundle: str) -> None:
    assert cli("index", "remove", store, "scan0", "scan2")[0] == {"removed": ["scan0", "scan2"]}
    done, _ = cli("index", "add", store, scans, "--model", bundle)
    assert done == {"added": ["scan0", "scan2"], "present": ["scan1"], "failed": []}


def test_a_bad_scan_is_3_and_the_others_are_added(cli, store: Path, tmp_path: Path, scans: Path, bundle: str) -> None:
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b no")
    shutil.copy(scans / "scan0.nii.gz", tmp_path / "more.nii.gz")
    done, err = cli(
        "index", "add", store, tmp_path / "broken.nii.gz", tmp_path / "more.nii.gz", "--model", bundle, status=3
    )
    assert done["added"] == ["more"]
    assert done["failed"][0]["case"] == "broken"
    assert "error: broken:" in err


def test_rebuild_with_another_model(cli, store: Path, scans: Path, bundle: str, tmp_path: Path) -> None:
    other = save_random_bundle(tmp_path / "other", seed=1)
    error, err = cli("similar", scans / "scan0.nii.gz", "--store", store, "--model", other, status=3)
    assert error["error"]["code"] == "store-of-other-weights"
    assert "index rebuild" in err
    info, _ = cli("index", "rebuild", store, "--model", other)
    assert (info["cases"], info["model"]["name"], info["dropped"]) == (3, "other", [])
    found, _ = cli("similar", scans / "scan0.nii.gz", "--store", store, "--model", other)
    assert found["matches"][0]["case"] == "scan0"
    assert found["matches"][1]["report"] in {REPORT, ""}


def test_an_empty_store_matches_nothing_and_says_so(cli, tmp_path: Path, bundle: str) -> None:
    (tmp_path / "broken.nii.gz").write_bytes(b"no")
    cli("index", "add", tmp_path / "empty", tmp_path / "broken.nii.gz", "--model", bundle, status=3)
    found, err = cli("search", "emphysema", "--store", tmp_path / "empty", "--model", bundle)
    assert found["matches"] == []
    assert "no cases yet" in err


@pytest.mark.parametrize(
    "verb", [["index", "list"], ["index", "info"], ["index", "rebuild"], ["search", "x", "--store"]]
)
def test_what_is_no_store_is_3(cli, tmp_path: Path, bundle: str, verb: list[str]) -> None:
    model = ["--model", bundle] if verb[-1] != "list" else []
    error, err = cli(*verb, tmp_path / "nowhere", *model, status=3)
    assert error["error"]["code"] == "unfit-store"
    assert err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_newer_store_is_3_and_untouched(cli, store: Path) -> None:
    lancedb.connect(store).open_table("about").update(values={"format": 2})
    error, _ = cli("index", "list", store, status=3)
    assert "update napari-colipri" in error["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", " ", "--store", "x"], "empty text"),
        (["search", "x"], "--store"),
        (["similar", "x", "--store", "y", "-k", "0"], "-k"),
        (["similar", "x", "--store", "y", "--age", "old"], "--age 40..70"),
        (["search", "x", "--store", "y", "--age", "70..40"], "--age 40..70"),
        (["search", "x", "--store", "y", "--date", "May"], "--date 2024-01-01..2024-12-31"),
        (["search", "x", "--store", "y", "--sex", "female"], "--sex F, M, O"),
    ],
)
def test_wrong_usage_is_2(cli, arguments: list[str], said: str) -> None:
    error, _ = cli(*arguments, status=2)
    assert said in error["error"]["message"]


@pytest.mark.parametrize("verb", ["add", "list", "remove", "rebuild", "info"])
def test_every_verb_takes_the_common_options(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main(["index", verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--model", "--device", "--json", "--quiet"))


def _sentences(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [sentence for section in report["sections"] for sentence in section["sentences"]]


def _sources(report: dict[str, Any]) -> set[str]:
    return {sentence["support"]["source"] for sentence in _sentences(report)}
