"""No verb writes over what it reads: not the CT, not a slice of its series, not a link to it, and no file twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from chests import chest
from dicom_writer import write_series
from random_bundles import save_random_bundle

from colipri_core.io import read_volume
from colipri_core.io import write_labelmap
from colipri_core.io import write_volume
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

ABSENT = ("--model", "no-such-model")
"""With a model that is not there, only what is checked earlier can be the answer."""
VERBS = {
    "structures": ("segment", "--structure", "heart"),
    "prompts": ("segment", "--point", "0,0,-260"),
    "evidence": ("evidence", "--text", "fluid"),
    "report": ("report",),
}
IMAGES = pytest.mark.parametrize("verb", [VERBS["structures"], VERBS["prompts"], VERBS["evidence"]])


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    return write_volume(chest(spacing=(15.0, 15.0, 15.0)), tmp_path / "scans" / "ct.nii.gz")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    volume = chest(spacing=(15.0, 15.0, 35.0)).reoriented("LPS")
    write_series(tmp_path / "series", volume.voxels, volume.affine)
    for file in (tmp_path / "series").iterdir():
        file.rename(file.with_suffix(".dcm"))
    return tmp_path / "series"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def is_refused(found: dict[str, Any], *named: Path) -> None:
    assert found["code"] == "usage"
    assert "would be lost. Name another file." in found["message"]
    for path in named:
        assert f'"{path}"' in found["message"]


@IMAGES
def test_the_ct_is_not_replaced(cli, ct: Path, verb: tuple[str, ...]) -> None:
    before = contents(ct.parent)
    is_refused(cli(verb[0], ct, *verb[1:], "-o", ct, *ABSENT, status=2), ct)
    assert contents(ct.parent) == before


def test_convert_does_not_replace_its_input(cli, ct: Path) -> None:
    before = contents(ct.parent)
    is_refused(cli("convert", ct, ct, status=2), ct)
    assert contents(ct.parent) == before


@pytest.mark.parametrize("how", ["spelling", "symbolic link", "hard link", "folder that is a link"])
def test_another_way_to_the_ct_is_the_ct(cli, ct: Path, tmp_path: Path, how: str) -> None:
    other = tmp_path / "other.nii.gz"
    if how == "spelling":
        other = tmp_path / "scans" / ".." / "scans" / "ct.nii.gz"
    elif how == "symbolic link":
        other.symlink_to(ct)
    elif how == "hard link":
        os.link(ct, other)
    else:
        (tmp_path / "link").symlink_to(ct.parent)
        other = tmp_path / "link" / "ct.nii.gz"
    before = ct.read_bytes()
    is_refused(cli("evidence", ct, "--text", "fluid", "-o", other, *ABSENT, status=2), ct, other)
    assert ct.read_bytes() == before


@pytest.mark.parametrize("verb", [VERBS["structures"], VERBS["prompts"], VERBS["report"]])
@pytest.mark.parametrize("given", ["folder", "slice"])
def test_a_slice_of_the_series_is_not_replaced(cli, series: Path, verb: tuple[str, ...], given: str) -> None:
    pytest.importorskip("highdicom")
    before = contents(series)
    first, second = sorted(series.iterdir())[:2]
    found = cli(verb[0], series if given == "folder" else second, *verb[1:], "-o", first, *ABSENT, status=2)
    is_refused(found, first)
    assert contents(series) == before


def test_a_slice_is_not_replaced_by_what_goes_with_the_labelmap(cli, ct: Path, series: Path) -> None:
    first = sorted(series.iterdir())[0].rename(series / "mask.json")
    before = contents(series)
    is_refused(cli("segment", ct, "-o", series / "mask.nii.gz", *ABSENT, status=2), first)
    prompts = ("--point", "0,0,-260", "-o", series / "other.nii.gz", "--log", first)
    is_refused(cli("segment", ct, *prompts, *ABSENT, status=2), first)
    assert contents(series) == before


def test_a_segmentation_beside_the_slices_may_be_replaced_and_is_no_series(cli, series: Path) -> None:
    pytest.importorskip("highdicom")
    volume = read_volume(series)
    labelmap = (volume.voxels > 0).astype("uint8")
    found = Segmentation(labelmap=labelmap, geometry=volume.geometry, segments=(Segment(label=1, name="Body"),))
    for _ in range(2):
        write_labelmap(found, series / "mask.dcm", source=read_volume(series))
    again = cli("segment", series, "-o", series / "mask.dcm", *ABSENT, status=4)
    assert again["code"] == "model-unavailable"


class TestSeveral:
    @pytest.fixture
    def bundle(self, tmp_path: Path) -> str:
        return str(save_random_bundle(tmp_path / "random"))

    @pytest.mark.parametrize("kind", ["dseg", "map"])
    def test_one_of_them_is_not_replaced_by_the_result_of_another(self, cli, bundle: str, ct: Path, kind) -> None:
        names = {"dseg": "sub-ct_desc-structures_dseg.nii.gz", "map": "sub-ct_desc-fluid_map.nii.gz"}
        verb = VERBS["structures"] if kind == "dseg" else VERBS["evidence"]
        other = Path(shutil.copy(ct, ct.with_name(names[kind])))
        before = other.read_bytes()
        found = cli(verb[0], ct, other, *verb[1:], "-o", ct.parent, "--model", bundle, status=2)
        is_refused(found["cases"][0]["error"], other)
        assert "error" not in found["cases"][1]
        assert other.read_bytes() == before

    def test_names_of_any_script_are_cases_of_their_own(self, cli, bundle: str, ct: Path, tmp_path: Path) -> None:
        names = ["\u75c5\u4f8b", "\u0421\u043b\u0443\u0447\u0430\u0439", "M\u00fcller", "Muller"]
        for name in names:
            shutil.copy(ct, ct.with_name(f"{name}.nii.gz"))
        ct.unlink()
        (tmp_path / "out").mkdir()
        cli("segment", ct.parent, "--structure", "heart", "-o", tmp_path / "out", "--model", bundle)
        written = {path.name for path in (tmp_path / "out").glob("*.nii.gz")}
        assert written == {f"sub-{name}_desc-structures_dseg.nii.gz" for name in names}


class TestTheLog:
    def test_of_a_labelmap_in_a_folder_is_not_the_file_beside_it(self, cli, ct: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        log = tmp_path / "out" / "sub-ct_desc-prompted_dseg.json"
        arguments = (ct, *VERBS["prompts"][1:], "-o", tmp_path / "out", "--log", log)
        found = cli("segment", *arguments, *ABSENT, status=2)
        assert found["code"] == "usage"
        assert '"sub-ct_desc-prompted_dseg.nii.gz"' in found["message"]
        assert list((tmp_path / "out").iterdir()) == []

    def test_is_not_the_file_beside_it_by_a_link_either(self, cli, ct: Path, tmp_path: Path) -> None:
        (tmp_path / "log.json").symlink_to(tmp_path / "mask.json")
        outputs = ("-o", tmp_path / "mask.nii.gz", "--log", tmp_path / "log.json")
        found = cli("segment", ct, *VERBS["prompts"][1:], *outputs, *ABSENT, status=2)
        assert "Expected two files" in found["message"]


def test_a_name_no_file_can_have_is_said_before_the_model(cli, ct: Path, tmp_path: Path) -> None:
    found = cli("evidence", ct, "--text", "nodule " * 60, "-o", tmp_path, *ABSENT, status=2)
    assert found["code"] == "usage"
    assert "Choose another name" in found["message"]


def test_the_log_is_not_the_file_beside_in_other_letters(cli, ct: Path, tmp_path: Path) -> None:
    outputs = ("-o", tmp_path / "mask.nii.gz", "--log", tmp_path / "MASK.json")
    found = cli("segment", ct, *VERBS["prompts"][1:], *outputs, *ABSENT, status=2)
    assert "Expected two files" in found["message"]
