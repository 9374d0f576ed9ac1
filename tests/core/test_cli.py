"""The command line as scripts use it: one JSON document on stdout, words on stderr, stable exit codes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chests import chest
from random_bundles import save_random_bundle
from scripted_engine import ScriptedEngine
from support.serving import serving

from colipri_core.cli.main import main
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io import write_volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_bundle(tmp_path_factory.mktemp("models") / "random"))


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ct") / "chest.nii.gz"
    write_volume(chest().reoriented("LPS"), path)
    return str(path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command in this process; returns exit status, stdout and stderr."""
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def document(result: tuple[int, str, str], status: int = 0) -> dict[str, Any]:
    """The one JSON document on stdout."""
    assert result[0] == status, result
    return json.loads(result[1])


def _failed(found: dict[str, Any]) -> list[dict[str, str]]:
    return [check for check in found["checks"] if check["state"] == "failed"]


def assert_refused(result: tuple[int, str, str], *, status: int, code: str, said: str) -> None:
    error = document(result, status)["error"]
    assert error["code"] == code
    assert said in error["message"]
    assert result[2].count("\n") == 1
    assert result[2].startswith("error: ")
    assert said in result[2]
    assert "Traceback" not in result[2]


class TestClassify:
    def test_the_document(self, cli, bundle: str, ct: str) -> None:
        found = document(cli("classify", ct, "--model", bundle, "--json"))
        assert list(found) == ["case", "model", "findings", "provenance"]
        assert found["case"] == "chest"
        assert found["model"]["name"] == "random"
        assert len(found["findings"]) == 18
        assert list(found["findings"][0]) == ["name", "code", "probability", "calibrated", "evidence"]

    def test_questions_keep_their_order(self, cli, bundle: str, ct: str) -> None:
        found = document(
            cli("classify", ct, "--finding", "small nodule", "--finding", "Emphysema", "--model", bundle, "--json")
        )
        assert [finding["name"] for finding in found["findings"]] == ["small nodule", "Emphysema"]

    def test_for_people(self, cli, bundle: str, ct: str) -> None:
        status, out, _ = cli("classify", ct, "--model", bundle)
        assert status == 0
        assert "Pleural effusion" in out
        assert "not for diagnosis" in " ".join(out.split())

    def test_several_volumes_survive_a_bad_one(self, cli, bundle: str, ct: str, tmp_path: Path) -> None:
        broken = tmp_path / "broken.nii.gz"
        broken.write_bytes(b"\x1f\x8b not a gzip file")
        result = cli("classify", ct, str(broken), ct, "--finding", "emphysema", "--model", bundle, "--json")
        cases = document(result, 3)["cases"]
        assert [case["case"] for case in cases] == ["chest", "broken.nii.gz", "chest"]
        assert cases[1]["error"]["code"] == "unreadable-input"
        assert cases[0]["findings"] == cases[2]["findings"]

    def test_warnings_go_to_stderr_and_quiet_silences_them(self, cli, bundle: str, tmp_path: Path) -> None:
        water = chest().replace_voxels(np.zeros_like(chest().voxels))
        path = write_volume(water, tmp_path / "water.nii.gz")
        loud = cli("classify", str(path), "--model", bundle, "--json")
        quiet = cli("classify", str(path), "--model", bundle, "--json", "--quiet")
        assert "Out of distribution" in loud[2]
        assert quiet[2] == ""
        assert any("Out of distribution" in text for text in document(quiet)["provenance"]["warnings"])


class TestFiles:
    def test_evidence_writes_the_map_in_the_volumes_grid(self, cli, bundle: str, ct: str, tmp_path: Path) -> None:
        path = tmp_path / "map.nii.gz"
        found = document(cli("evidence", ct, "--text", "emphysema", "-o", str(path), "--model", bundle, "--json"))
        assert found["case"] == "chest"
        written, source = read_volume(path), read_volume(ct)
        assert written.geometry == source.geometry
        index = tuple(np.rint(source.geometry.world_to_index(found["peak_ras"])).astype(int))
        assert written.voxels[index] == pytest.approx(found["peak_value"], abs=1e-6)

    @pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd", ".mha"])
    def test_segment_writes_the_chosen_structure(self, cli, bundle: str, ct: str, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"mask{suffix}"
        found = document(cli("segment", ct, "--structure", "heart", "-o", str(path), "--model", bundle, "--json"))
        (segment,) = found["segments"]
        assert (segment["name"], segment["label"]) == ("Heart", 3)
        mask = read_labelmap(path)
        assert mask.geometry == read_volume(ct).geometry
        assert mask.volumes_ml()["Heart"] == pytest.approx(segment["volume_ml"], abs=0.01)

    def test_convert_keeps_voxels_and_place(self, cli, ct: str, tmp_path: Path) -> None:
        path = tmp_path / "chest.nrrd"
        found = document(cli("convert", ct, str(path), "--json"))
        assert found["shape"] == list(read_volume(ct).shape)
        written, source = read_volume(path), read_volume(ct)
        np.testing.assert_array_equal(written.voxels, source.voxels)
        assert np.allclose(written.affine, source.affine, atol=1e-4)


class TestUsage:
    def test_help_and_version(self, cli) -> None:
        assert cli("--help")[0] == 0
        assert cli("--version")[1].startswith("colipri ")

    @pytest.mark.parametrize(
        "verb", ["demo", "classify", "evidence", "segment", "similar", "search", "convert", "info", "doctor", "bench"]
    )
    def test_every_verb_takes_the_common_options(self, cli, verb: str) -> None:
        status, out, _ = cli(verb, "--help")
        assert status == 0
        assert all(option in out for option in ("--model", "--device", "--json", "--quiet"))

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["classify"], "Missing argument"),
            (["frobnicate"], "No such command"),
            (["classify", "CT", "--frobnicate"], "No such option"),
            (["classify", "CT", "--finding", " "], "empty text"),
            (["evidence", "CT", "--text", "x", "-o", "map.png"], ".nii.gz"),
            (["evidence", "CT", "--text", "x", "-o", "nowhere/map.nii.gz"], "folder"),
            (["segment", "CT", "--structure", "gizzard", "-o", "mask.nii.gz"], "Left upper lung lobe"),
            (["classify", "CT", "--device", "abacus"], "abacus"),
        ],
    )
    def test_wrong_usage_is_2(self, cli, bundle: str, ct: str, arguments: list[str], said: str) -> None:
        arguments = [ct if argument == "CT" else argument for argument in arguments]
        model = ["--model", bundle] if ct in arguments else []
        assert_refused(cli(*arguments, *model, "--json"), status=2, code="usage", said=said)


class TestBadInput:
    def test_a_missing_file_is_3(self, cli, bundle: str, tmp_path: Path) -> None:
        result = cli("classify", str(tmp_path / "none.nii.gz"), "--model", bundle, "--json")
        assert_refused(result, status=3, code="unreadable-input", said="none.nii.gz")

    def test_a_truncated_file_is_3(self, cli, bundle: str, ct: str, tmp_path: Path) -> None:
        path = tmp_path / "cut.nii.gz"
        path.write_bytes(Path(ct).read_bytes()[:2000])
        result = cli("segment", str(path), "-o", str(tmp_path / "m.nii.gz"), "--model", bundle, "--json")
        assert_refused(result, status=3, code="unreadable-input", said="cut.nii.gz")
        assert not (tmp_path / "m.nii.gz").exists()

    def test_a_single_slice_is_3(self, cli, bundle: str, tmp_path: Path) -> None:
        import nibabel

        path = tmp_path / "slice.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.zeros((20, 20, 1), np.int16), np.eye(4)), path)
        result = cli("classify", str(path), "--model", bundle, "--json")
        assert_refused(result, status=3, code="unsupported-volume", said="slice")

    def test_several_series_are_3_and_one_can_be_picked(
        self, cli, bundle: str, shared_data: Path, tmp_path: Path
    ) -> None:
        for name in ("example_ct_dicom", "rspect_demo"):
            shutil.copytree(shared_data / "dicom" / name, tmp_path / "both" / name)
        result = cli("convert", str(tmp_path / "both"), str(tmp_path / "a.nii.gz"), "--json")
        error = document(result, 3)["error"]
        assert error["code"] == "several-series"
        assert "--series" in error["message"]
        assert len(error["series"]) == 2
        for number, uid in enumerate(error["series"]):
            output = tmp_path / f"{number}.nii.gz"
            found = document(cli("convert", str(tmp_path / "both"), str(output), "--series", uid, "--json"))
            assert found["shape"][2] > 1


class TestBadModel:
    def test_an_unknown_model_is_4(self, cli, ct: str) -> None:
        result = cli("classify", ct, "--model", "no-such-model", "--json")
        assert_refused(result, status=4, code="model-unavailable", said="no-such-model")

    def test_a_path_behind_the_address_of_a_server_is_4(self, cli, ct: str) -> None:
        with serving(ScriptedEngine()) as url:
            result = cli("classify", ct, "--model", f"{url}/foo", "--json")
        assert_refused(result, status=4, code="protocol-mismatch", said="Check the URL")

    def test_a_changed_weight_is_4(self, cli, bundle: str, ct: str, tmp_path: Path) -> None:
        folder = tmp_path / "tampered"
        shutil.copytree(bundle, folder)
        weights = folder / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        result = cli("classify", ct, "--model", str(folder), "--json")
        assert_refused(result, status=4, code="bad-bundle", said="SHA-256")

    def test_a_model_without_a_structure_head_is_4(self, cli, ct: str, tmp_path: Path) -> None:
        plain = save_random_bundle(tmp_path / "plain", structures=False)
        result = cli("segment", ct, "-o", str(tmp_path / "m.nii.gz"), "--model", str(plain), "--json")
        assert_refused(result, status=4, code="not-supported-by-model", said="structure head")

    def test_a_server_that_is_not_there_is_4(self, cli, ct: str) -> None:
        result = cli("classify", ct, "--model", "http://localhost:1", "--json")
        assert_refused(result, status=4, code="server-unreachable", said="colipri serve")


class TestDemo:
    def test_without_napari_it_says_how_to_install_it(self, cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert_refused(cli("demo", "--json"), status=4, code="missing-dependency", said="napari-colipri[all]")

    def test_it_hands_its_options_to_the_viewer(
        self, cli, ct: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        asked: dict[str, Any] = {}

        def run(ct: Path | None, **options: Any) -> SimpleNamespace:
            asked.update(options, ct=ct)
            return SimpleNamespace(
                case="chest", model="notice", top_finding="Emphysema", screenshot=options["screenshot"]
            )

        monkeypatch.setitem(sys.modules, "napari_colipri.demo", SimpleNamespace(run=run))
        picture = tmp_path / "demo.png"
        found = document(cli("demo", ct, "--screenshot", str(picture), "--model", "other", "--json"))
        assert found == {"case": "chest", "model": "notice", "top_finding": "Emphysema", "screenshot": str(picture)}
        assert (asked["ct"], asked["screenshot"], asked["model"]) == (Path(ct), picture, "other")
        assert_refused(cli("demo", "--screenshot", "a.jpg", "--json"), status=2, code="usage", said=".png")


class TestBench:
    def test_every_step_has_its_seconds_and_what_they_include(self, cli, bundle: str, ct: str) -> None:
        found = document(cli("bench", ct, "--model", bundle, "--json", "--quiet"))
        steps = ["read", "open", "encode", "next phrase", "evidence", "structures", "first click", "next click"]
        assert list(found["seconds"]) == list(found["includes"]) == steps
        assert all(seconds > 0 for seconds in found["seconds"].values())
        assert (found["case"], found["model"]["name"], found["device"]) == ("chest", "random", "cpu")
        assert {"python", "torch"} <= set(found["versions"])
        assert not found["encode_was_cached"]

    def test_a_missing_part_is_named_and_the_rest_is_timed(self, cli, tmp_path: Path) -> None:
        plain = save_random_bundle(tmp_path / "plain", structures=False)
        found = document(cli("bench", "--model", str(plain), "--json", "--quiet"))
        assert found["case"] == "phantom_chest"
        assert found["unsupported"] == ["structures"]
        assert "structures" not in found["seconds"]

    def test_for_people(self, cli, bundle: str, ct: str) -> None:
        status, out, _ = cli("bench", ct, "--model", bundle)
        assert status == 0
        assert all(word in out for word in ("next click", "not for diagnosis", "warming up"))


class TestInfo:
    def test_what_is_installed_and_where(self, cli, tmp_path: Path) -> None:
        found = document(cli("info", "--json"))
        assert found["versions"]["torch"] != "not installed"
        assert found["cache"]["folder"] == str(tmp_path / "cache")
        assert "cpu" in found["devices"]
        assert all(len(bundle["sha256"]) == 64 for bundle in found["bundles"])

    def test_doctor_passes_with_a_good_model_and_fails_with_a_bad_one(self, cli, bundle: str) -> None:
        good = document(cli("doctor", "--model", bundle, "--json"))
        assert good["ok"]
        assert {"python", "torch", "device", "cache", "disk", "display"} <= {check["name"] for check in good["checks"]}
        bad = document(cli("doctor", "--model", "no-such-model", "--json"), 1)
        (failed,) = (check for check in bad["checks"] if check["state"] == "failed")
        assert "no-such-model" in failed["found"]
        assert failed["fix"]

    def test_doctor_checks_the_connection_to_a_server_and_needs_no_torch_for_it(
        self, cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find, missing = importlib.util.find_spec, {"torch"}
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
        with serving(ScriptedEngine(), token="the-token-of-the-server") as url:
            monkeypatch.setenv("COLIPRI_SERVER_TOKEN", "the-token-of-the-server")
            good = document(cli("doctor", "--model", url, "--json"))
            monkeypatch.setenv("COLIPRI_SERVER_TOKEN", "another-token")
            (refused,) = _failed(document(cli("doctor", "--model", url, "--json"), 1))
        (gone,) = _failed(document(cli("doctor", "--model", url, "--json"), 1))
        checks = {check["name"]: check for check in good["checks"]}
        assert checks["torch"]["state"] == "warning"
        assert checks[f"server {url}"]["state"] == "ok"
        said = checks[f"server {url}"]["found"]
        assert ScriptedEngine().card.name in said
        assert version("napari-colipri") in said
        assert "COLIPRI_SERVER_TOKEN" in refused["fix"]
        assert "colipri serve" in gone["fix"]

    def test_every_check_that_is_not_ok_has_a_fix(self, cli, bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.setenv("COLIPRI_CACHE_DIR", "/proc/nowhere")
        checks = document(cli("doctor", "--model", bundle, "--json"))["checks"]
        assert {check["name"] for check in checks if check["state"] == "warning"} >= {"display", "cache"}
        assert all(bool(check["fix"]) == (check["state"] != "ok") for check in checks)
