"""`colipri report`: the documented JSON, files by suffix, and what is refused before any work is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chests import chest
from random_bundles import save_random_bundle

from colipri_core.cli.main import main
from colipri_core.io import write_volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    writes = "There is pleural effusion. No lung nodule."
    return str(save_random_bundle(tmp_path_factory.mktemp("models") / "writer", writes=writes))


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ct") / "chest.nii.gz"
    write_volume(chest(), path)
    return str(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs `colipri report`; returns exit status and stdout."""
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "cache"))

    def call(*arguments: str) -> tuple[int, str]:
        status = main(["report", *arguments])
        return status, capsys.readouterr().out

    return call


def test_json_is_the_documented_one_and_the_file_holds_the_same(run, bundle: str, ct: str, tmp_path: Path) -> None:
    target = tmp_path / "draft.json"
    status, out = run(ct, "--model", bundle, "--json", "-o", str(target))
    document = json.loads(out)
    assert status == 0
    assert document["status"] == "DRAFT"
    assert document["model"]["name"] == "writer"
    (section,) = document["sections"]
    assert section["name"] == "Findings"
    assert [sentence["text"] for sentence in section["sentences"]] == ["There is pleural effusion.", "No lung nodule."]
    for sentence in section["sentences"]:
        assert set(sentence) == {"text", "finding", "support", "place_ras", "flags"}
    assert document.pop("output") == str(target)
    assert json.loads(target.read_text()) == document


@pytest.mark.parametrize("suffix", [".md", ".txt", ".html", ".dcm"])
def test_files_by_suffix_say_draft(run, bundle: str, ct: str, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"draft{suffix}"
    assert run(ct, "--model", bundle, "--json", "-o", str(target))[0] == 0
    content = target.read_bytes()
    for words in (b"DRAFT", b"writer", b"Research use only"):
        assert words in content


@pytest.mark.parametrize("stored", [False, True], ids=["asked for", "worded by a store"])
def test_a_model_that_writes_composes_where_that_is_asked_for(
    run, capsys: pytest.CaptureFixture[str], bundle: str, ct: str, tmp_path: Path, *, stored: bool
) -> None:
    store = str(tmp_path / "store")
    if stored:
        assert main(["index", "add", store, ct, "--model", bundle]) == 0
        capsys.readouterr()
    status, out = run(ct, "--model", bundle, "--json", *(("--store", store) if stored else ("--composed",)))
    assert status == 0
    sentences = [sentence for part in json.loads(out)["sections"] for sentence in part["sentences"]]
    assert {sentence["support"]["source"] for sentence in sentences} == {"findings"}


def test_people_read_words(run, bundle: str, ct: str) -> None:
    status, out = run(ct, "--model", bundle)
    assert status == 0
    assert "DRAFT report: chest" in out
    assert "There is pleural effusion." in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "draft.pdf"), ".html"),
        (("-o", "nowhere/draft.html"), "folder"),
        (("--threshold", "1.5"), "threshold"),
        (("--beams", "0"), "beam"),
    ],
)
def test_wrong_use_is_refused_before_the_model_is_loaded(run, ct: str, arguments: tuple[str, ...], said: str) -> None:
    status, out = run(ct, "--model", "no-such-model", "--json", *arguments)
    assert status == 2
    assert said in json.loads(out)["error"]["message"]


def test_a_file_that_is_no_image_is_unfit_input(run, tmp_path: Path) -> None:
    (tmp_path / "broken.nii.gz").write_bytes(b"not an image")
    status, out = run(str(tmp_path / "broken.nii.gz"), "--json", "-o", str(tmp_path / "d.html"))
    assert status == 3
    assert json.loads(out)["error"]["code"] == "unreadable-input"
    assert not (tmp_path / "d.html").exists()
