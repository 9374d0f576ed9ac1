"""Verbs over folders: the scans below one are worked through, a DICOM study stays one scan, files go into a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from chests import chest
from random_bundles import save_random_bundle

from colipri_core.cli.batch import scans_of
from colipri_core.cli.main import main
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_bundle(tmp_path_factory.mktemp("models") / "random", writes="No lung nodule."))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two scans of one name, one that is none, and what is no scan."""
    for patient in ("p1", "p2"):
        (tmp_path / "scans" / patient).mkdir(parents=True)
        write_volume(chest(), tmp_path / "scans" / patient / "ct.nii.gz")
    (tmp_path / "scans" / "broken.nii.gz").write_bytes(b"no image")
    (tmp_path / "scans" / "notes.txt").write_text("not a scan")
    shutil.copy(tmp_path / "scans" / "p1" / "ct.nii.gz", tmp_path / "scans" / "p1" / "ct_dseg.nii.gz")
    return tmp_path / "scans"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a verb with the random model; returns its JSON document."""
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: object, status: int = 0) -> dict[str, Any]:
        assert main([*map(str, arguments), "--model", bundle, "--json"]) == status
        return json.loads(capsys.readouterr().out)

    return run


def cases_of(document: dict[str, Any]) -> list[str]:
    return [case["case"] for case in document["cases"]]


def test_a_folder_of_scans_is_a_batch(cli, scans: Path) -> None:
    found = cli("classify", scans, "--finding", "emphysema", status=3)
    assert cases_of(found) == ["broken.nii.gz", "p1/ct", "p2/ct"]
    assert found["cases"][0]["error"]["code"] == "unreadable-input"
    assert found["cases"][1]["findings"] == found["cases"][2]["findings"]


def test_heat_maps_go_into_the_folder(cli, scans: Path, results: Path) -> None:
    found = cli("evidence", scans / "p1", scans / "p2" / "ct.nii.gz", "--text", "a nodule", "-o", results, status=2)
    assert sorted(path.name for path in results.glob("*.nii.gz")) == ["sub-ct_desc-anodule_map.nii.gz"]
    assert found["cases"][0]["output"] == str(results / "sub-ct_desc-anodule_map.nii.gz")
    assert "different names" in found["cases"][1]["error"]["message"]


def test_outlines_go_into_the_folder(cli, scans: Path, results: Path) -> None:
    found = cli("segment", scans, "--structure", "Heart", "-o", results, "--suffix", ".seg.nrrd", status=3)
    assert cases_of(found) == ["broken.nii.gz", "p1/ct", "p2/ct"]
    for number in (1, 2):
        mask = read_labelmap(results / f"sub-p{number}ct_desc-structures_dseg.seg.nrrd")
        assert mask.geometry == read_volume(scans / f"p{number}" / "ct.nii.gz").geometry


def test_drafts_go_into_the_folder_or_nowhere(cli, scans: Path, results: Path) -> None:
    (scans / "broken.nii.gz").unlink()
    printed = cli("report", scans)
    written = cli("report", scans, "-o", results, "--suffix", ".md")
    assert [case["status"] for case in printed["cases"]] == ["DRAFT", "DRAFT"]
    assert cases_of(printed) == cases_of(written) == ["p1/ct", "p2/ct"]
    assert [Path(case["output"]).name for case in written["cases"]] == [
        "sub-p1ct_desc-draft_report.md",
        "sub-p2ct_desc-draft_report.md",
    ]
    assert "DRAFT" in Path(written["cases"][0]["output"]).read_text()


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        (["segment", "--structure", "Heart"], "sub-ct_desc-structures_dseg.nii.gz"),
        (["evidence", "--text", "x-ray"], "sub-ct_desc-xray_map.nii.gz"),
        (["report"], "sub-ct_desc-draft_report.html"),
    ],
)
def test_one_ct_may_go_into_a_folder_too(cli, scans: Path, results: Path, verb: list[str], name: str) -> None:
    found = cli(*verb, scans / "p1" / "ct.nii.gz", "-o", results)
    assert found["case"] == "ct"
    assert found["output"] == str(results / name)
    assert (results / name).is_file()


@pytest.mark.parametrize("verb", [["segment"], ["evidence", "--text", "x"], ["report"]])
def test_a_wrong_place_or_format_is_said_first(cli, scans: Path, results: Path, verb: list[str]) -> None:
    nowhere = cli(*verb, scans, "-o", results / "none", status=2)["error"]["message"]
    strange = cli(*verb, scans, "-o", results, "--suffix", ".png", status=2)["error"]["message"]
    assert "Create it first" in nowhere
    assert "--suffix" in strange


class TestDicom:
    def test_one_series_anywhere_below_stays_one_scan(self, shared_data: Path) -> None:
        for folder in ("example_ct_dicom", "rspect_demo"):
            assert scans_of([shared_data / "dicom" / folder], series=None) is None

    def test_series_of_one_study_stay_one_input(self, cli, shared_data: Path, tmp_path: Path) -> None:
        import pydicom

        for number in (1, 2):
            folder = tmp_path / "study" / str(number)
            shutil.copytree(shared_data / "dicom" / "example_ct_dicom", folder)
            for file in folder.iterdir():
                header = pydicom.dcmread(file)
                header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", f"1.2.3.{number}"
                header.save_as(file)
        assert cli("classify", tmp_path / "study", status=3)["error"]["code"] == "several-series"
        assert cli("classify", tmp_path / "study", "--series", "1.2.3.2")["case"] == "study"

    def test_studies_are_a_batch(self, shared_data: Path, tmp_path: Path) -> None:
        for name in ("example_ct_dicom", "rspect_demo"):
            shutil.copytree(shared_data / "dicom" / name, tmp_path / "both" / name)
        found = scans_of([tmp_path / "both"], series=None)
        assert found is not None
        assert found[0].case == "example_ct_dicom"
        assert str(found[1].case).startswith("rspect_demo/train/")
        assert scans_of([tmp_path / "both"], series="1.2") is None

    def test_a_folder_without_scans_cannot_be_read(self, cli, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert cli("classify", tmp_path / "empty", status=3)["error"]["code"] == "unreadable-input"
