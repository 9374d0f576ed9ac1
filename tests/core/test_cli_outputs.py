"""Outputs of verbs: what cannot be written is refused before a model is opened, and no other file is lost."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from chests import chest
from dicom_writer import write_series
from random_bundles import save_random_bundle

from colipri_core.errors import OutputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.inference.local import LocalEngine
from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.io import write_volume
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_bundle(tmp_path_factory.mktemp("models") / "random"))


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_volume(chest(), tmp_path_factory.mktemp("ct") / "chest.nii.gz")


def ones(volume: Volume) -> Segmentation:
    labelmap = np.ones(volume.shape, np.uint8)
    return Segmentation(labelmap=labelmap, geometry=volume.geometry, segments=(Segment(label=1, name="all"),))


@pytest.mark.parametrize("name", ["x.seg.nrrd", "x.Seg.NRRD"])
@pytest.mark.parametrize("arguments", [("convert", "CT", "FILE"), ("evidence", "CT", "--text", "fluid", "-o", "FILE")])
def test_a_name_for_segments_is_refused_where_none_are_written(cli, ct: Path, tmp_path: Path, arguments, name) -> None:
    places = {"CT": ct, "FILE": tmp_path / name}
    found = cli(*(places.get(item, item) for item in arguments), "--model", "no-such-model", status=2)
    assert found["code"] == "usage"
    assert '"x.nrrd"' in found["message"]
    assert f"colipri segment -o {name}" in found["message"]
    assert not places["FILE"].exists()


class TestAFileBeside:
    """A labelmap or map has a JSON file of its name; none that is another's is replaced."""

    VERBS = pytest.mark.parametrize("verb", [("segment", "--structure", "heart"), ("evidence", "--text", "fluid")])

    @VERBS
    def test_a_report_is_not_replaced_and_no_model_is_opened(self, cli, bundle: str, ct: Path, tmp_path: Path, verb):
        report = tmp_path / "case.json"
        cli("report", ct, "-o", report, "--model", bundle)
        before = report.read_bytes()
        target = tmp_path / "case.nii.gz"
        found = cli(verb[0], ct, *verb[1:], "-o", target, "--model", "no-such-model", status=3)
        assert found["code"] == "unwritable-output"
        assert '"case.json"' in found["message"]
        assert report.read_bytes() == before
        assert not target.exists()

    @VERBS
    def test_its_own_is_replaced(self, cli, bundle: str, ct: Path, tmp_path: Path, verb) -> None:
        target = tmp_path / "case.nii.gz"
        for _ in range(2):
            cli(verb[0], ct, *verb[1:], "-o", target, "--model", bundle)
        assert json.loads((tmp_path / "case.json").read_text())["describes"] == "case.nii.gz"

    def test_that_of_another_image_of_the_same_name_is_not(self, cli, bundle: str, ct: Path, tmp_path: Path) -> None:
        arguments = ("--structure", "heart", "--model", bundle)
        cli("segment", ct, *arguments, "-o", tmp_path / "case.nii.gz")
        before = (tmp_path / "case.json").read_bytes()
        found = cli("segment", ct, *arguments, "-o", tmp_path / "case.mha", status=3)
        assert found["code"] == "unwritable-output"
        assert (tmp_path / "case.json").read_bytes() == before
        cli("segment", ct, *arguments, "-o", tmp_path / "case.seg.nrrd")

    @pytest.mark.parametrize("content", ["", "[1]", "no JSON", '{"describes": "other.nii.gz"}', '{"segments": []}'])
    def test_whatever_it_holds(self, ct: Path, tmp_path: Path, content: str) -> None:
        (tmp_path / "mask.json").write_text(content)
        with pytest.raises(OutputError, match=r"mask\.json"):
            write_labelmap(ones(read_volume(ct)), tmp_path / "mask.nii.gz")
        assert [path.name for path in tmp_path.iterdir()] == ["mask.json"]

    def test_the_log_is_not_the_file_beside(self, cli, ct: Path, tmp_path: Path) -> None:
        outputs = ("-o", tmp_path / "case.nii.gz", "--log", tmp_path / "case.json")
        found = cli("segment", ct, "--point", "0,0,0", *outputs, "--model", "no-such-model", status=2)
        assert "case.json" in found["message"]


class TestAFullDisk:
    @pytest.fixture(autouse=True)
    def _is_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("colipri_core.io.atomic.os.fsync", full)

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            (("convert", "CT", "FILE"), "x.nii.gz"),
            (("evidence", "CT", "--text", "fluid", "-o", "FILE"), "x.mha"),
            (("segment", "CT", "--structure", "heart", "-o", "FILE"), "x.seg.nrrd"),
        ],
    )
    def test_it_is_3_and_the_old_file_stays(self, cli, bundle: str, ct: Path, tmp_path: Path, arguments, name) -> None:
        target = tmp_path / name
        target.write_text("old")
        places = {"CT": ct, "FILE": target}
        found = cli(*(places.get(item, item) for item in arguments), "--model", bundle, status=3)
        assert found["code"] == "unwritable-output"
        for words in (str(target), "No space left", "Free some space"):
            assert words in found["message"]
        assert target.read_text() == "old"

    def test_one_of_several_does_not_end_the_rest(self, cli, bundle: str, ct: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        arguments = ("--structure", "heart", "-o", tmp_path / "out", "--model", bundle)
        other = Path(shutil.copy(ct, tmp_path / "other.nii.gz"))
        found = cli("segment", ct, other, *arguments, status=3)
        assert [case["error"]["code"] for case in found["cases"]] == ["unwritable-output"] * 2
        assert list((tmp_path / "out").iterdir()) == []


class TestDicomIsRefusedBeforeTheModel:
    """With a model that is not there, only what is checked earlier can be the answer."""

    def test_a_segmentation_of_a_nifti(self, cli, ct: Path, tmp_path: Path) -> None:
        found = cli("segment", ct, "-o", tmp_path / "mask.dcm", "--model", "no-such-model", status=3)
        volume = read_volume(ct)
        with pytest.raises(UnsupportedVolumeError) as caught:
            write_labelmap(ones(volume), tmp_path / "mask.dcm", source=volume)
        assert (found["code"], found["message"]) == (caught.value.code, str(caught.value))

    def test_one_that_prompts_are_to_make(self, cli, ct: Path, tmp_path: Path) -> None:
        arguments = ("--point", "0,0,0", "-o", tmp_path / "mask.dcm", "--model", "no-such-model")
        assert cli("segment", ct, *arguments, status=3)["code"] == "unsupported-volume"

    @pytest.mark.parametrize("verb", ["segment", "report"])
    def test_without_highdicom(self, cli, ct: Path, tmp_path: Path, monkeypatch, verb: str) -> None:
        monkeypatch.setitem(sys.modules, "highdicom", None)
        found = cli(verb, ct, "-o", tmp_path / "result.dcm", "--model", "no-such-model", status=4)
        assert found["code"] == "missing-dependency"
        assert "highdicom" in found["message"]

    def test_of_several_each_before_it_is_encoded(
        self, cli, bundle: str, ct: Path, tmp_path: Path, monkeypatch
    ) -> None:
        pytest.importorskip("highdicom")
        opened = []
        open_volume = LocalEngine.open

        def opening(self, volume, **options):
            opened.append(volume.name)
            return open_volume(self, volume, **options)

        monkeypatch.setattr(LocalEngine, "open", opening)
        volume = chest(spacing=(30.0, 30.0, 40.0)).reoriented("LPS")
        write_series(tmp_path / "series", volume.voxels, volume.affine)
        (tmp_path / "out").mkdir()
        arguments = ("--structure", "heart", "-o", tmp_path / "out", "--suffix", ".dcm", "--model", bundle)
        found = cli("segment", ct, tmp_path / "series", *arguments, status=3)
        assert opened == ["series"]
        assert found["cases"][0]["error"]["code"] == "unsupported-volume"
