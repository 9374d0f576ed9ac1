"""Exports of drafts, opened again: every one says DRAFT, shows its evidence, and is written whole or not at all."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pydicom
import pytest
from chests import chest
from dicom_writer import write_multiframe
from dicom_writer import write_series
from drafts import AFFIRMED
from drafts import small_report
from PIL import Image

import colipri_core as cc
from colipri_core.errors import InputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.findings import EvidenceMap
from colipri_core.geometry import ras_to_lps
from colipri_core.io import read_volume
from colipri_core.io import write_report
from colipri_core.io.key_image import WIDTH
from colipri_core.io.key_image import key_image
from colipri_core.report import Report
from colipri_core.report import ReportSection
from colipri_core.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore")

EDIT = "\u80f8\u8154\u79ef\u6db2 <script>alert(1)</script> \u0645"
CT = "lung_masks/imlab_id001_ct.nii.gz"


class Page(HTMLParser):
    """Texts, pictures and everything a page would fetch or run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.pictures: list[Image.Image] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "src" and value.startswith("data:image/png;base64,"):
                self.pictures.append(Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2]))))
            elif name in {"src", "href"}:
                self.links.append(value)

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """A real CT with its draft by the shipped model, and a way to its evidence maps."""
    volume = read_volume(shared_data / CT)
    cache = tmp_path_factory.mktemp("cache")
    with cc.open_engine("tiny", device="cpu", cache_dir=cache) as engine, engine.open(volume) as session:
        yield volume, session.draft_report(), session.evidence


def scored(volume: Volume, place: tuple[float, float, float]) -> EvidenceMap:
    """A map that is 1 in one voxel's neighbourhood and 0 elsewhere."""
    values = np.zeros(volume.shape, np.float32)
    i, j, k = np.round(volume.geometry.world_to_index(place)).astype(int)
    values[i - 3 : i + 4, j - 3 : j + 4, k - 1 : k + 2] = 1
    return EvidenceMap(
        text="x",
        values=values,
        geometry=volume.geometry,
        peak_ras=np.asarray(place),
        peak_value=1.0,
        provenance=small_report().provenance,
    )


class TestText:
    @pytest.mark.parametrize("suffix", [".md", ".txt", ".json", ".html"])
    def test_edits_in_any_script_are_kept(self, tmp_path: Path, suffix: str) -> None:
        path = write_report(small_report().edited(0, 0, EDIT), tmp_path / f"draft{suffix}")
        content = path.read_text(encoding="utf-8")
        if suffix == ".json":
            document = json.loads(content)
            assert document["sections"][0]["sentences"][0]["text"] == EDIT
            assert document["status"] == "DRAFT"
            content = str(document)
        elif suffix == ".html":
            content = Page(content).text
        assert EDIT[:4] in content
        for words in ("DRAFT", "drafter", "Research use only", "edited"):
            assert words in content

    def test_html_runs_and_fetches_nothing(self, tmp_path: Path) -> None:
        html = write_report(small_report().edited(0, 0, EDIT), tmp_path / "draft.html").read_text(encoding="utf-8")
        page = Page(html)
        assert "script" not in page.tags
        assert page.links == []
        assert EDIT in page.text


class TestRealCt:
    def test_html_opens_with_a_picture_for_every_affirmed_sentence(self, real, tmp_path: Path) -> None:
        volume, report, evidence = real
        page = Page(write_report(report, tmp_path / "d.html", source=volume, evidence=evidence).read_text())
        shown = [item for item in report if item.is_affirmed or set(item.flags) - {"unchecked"}]
        assert shown
        assert len(page.pictures) == len(shown)
        for picture in page.pictures:
            picture.load()
            pixels = np.asarray(picture.convert("RGB")).astype(int)
            assert pixels.shape[1] == WIDTH
            assert pixels.std() > 10
        for sentence in report:
            assert sentence.text in page.text
        assert "tiny" in page.text

    def test_sr_opens_again_and_refers_to_its_images(self, real, tmp_path: Path) -> None:
        nifti, _, _ = real
        highdicom = pytest.importorskip("highdicom")
        source = nifti.reoriented("LPS")
        write_series(tmp_path / "series", source.voxels.astype(np.int16), source.affine)
        volume = read_volume(tmp_path / "series")
        cache = tmp_path / "cache"
        with cc.open_engine("tiny", device="cpu", cache_dir=cache) as engine, engine.open(volume) as session:
            report = session.draft_report()
        document = highdicom.sr.srread(write_report(report, tmp_path / "draft.dcm", source=volume))
        images = [pydicom.dcmread(file, stop_before_pixels=True) for file in (tmp_path / "series").iterdir()]
        assert document.SOPClassUID == pydicom.uid.Comprehensive3DSRStorage
        assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
        assert document.StudyInstanceUID == images[0].StudyInstanceUID
        assert document.PatientID == "0815"
        assert {uids[2] for uids in document.get_evidence()} == {image.SOPInstanceUID for image in images}
        by_uid = {image.SOPInstanceUID: image for image in images}
        affirmed = [sentence for sentence in report if sentence.is_affirmed]
        points, references = items(document, "SCOORD3D"), items(document, "IMAGE")
        assert affirmed
        assert len(points) == len(references) == len(affirmed)
        for sentence, point, reference in zip(affirmed, points, references, strict=True):
            assert list(point.GraphicData) == pytest.approx(list(ras_to_lps(np.array(sentence.place_ras))), abs=0.01)
            assert point.ReferencedFrameOfReferenceUID == images[0].FrameOfReferenceUID
            image = by_uid[reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
            assert abs(float(image.ImagePositionPatient[2]) - point.GraphicData[2]) <= volume.spacing[2] / 2 + 0.01


def items(document, kind: str) -> list[pydicom.Dataset]:
    """All content items of a value type, in the order of the document."""
    found = [document] if document.ValueType == kind else []
    for child in document.get("ContentSequence", []):
        found += items(child, kind)
    return found


def placed(place: tuple[float, float, float]) -> Report:
    """A report of one affirmed sentence with its place."""
    sentences = (dataclasses.replace(AFFIRMED, place_ras=place),)
    return dataclasses.replace(small_report(), sections=(ReportSection(name="Findings", sentences=sentences),))


class TestStructuredReport:
    @pytest.fixture(autouse=True)
    def _needs_highdicom(self) -> None:
        pytest.importorskip("highdicom")

    def test_sentences_codes_and_flags_come_back(self, tmp_path: Path) -> None:
        report = small_report().edited(0, 2, EDIT)
        document = pydicom.dcmread(write_report(report, tmp_path / "draft.dcm"))
        texts = [item.TextValue for item in items(document, "TEXT")]
        for sentence in report:
            assert sentence.text in texts
        for words in ("DRAFT", "Research use only", "Model: drafter", "contradicted: ", "Refers to no images"):
            assert any(words in text for text in texts)
        codes = {
            item.ConceptNameCodeSequence[0].CodeMeaning: item.ConceptCodeSequence[0].CodeMeaning
            for item in items(document, "CODE")
        }
        assert codes["Pleural effusion"] == "Present"
        assert codes["Lung nodule"] == "Absent"
        assert float(items(document, "NUM")[0].MeasuredValueSequence[0].NumericValue) == 31.0

    def test_a_volume_without_dicom_images_gets_a_study_of_its_own(self, tmp_path: Path) -> None:
        document = pydicom.dcmread(write_report(small_report(), tmp_path / "draft.dcm", source=chest()))
        assert "CurrentRequestedProcedureEvidenceSequence" not in document
        assert not document.PatientID
        assert items(document, "IMAGE") == []
        assert len(items(document, "SCOORD3D")) == 3

    def test_stripped_identifiers_are_not_referred_to(self, shared_data: Path, tmp_path: Path) -> None:
        volume = read_volume(shared_data / "dicom" / "rspect_demo")
        document = pydicom.dcmread(write_report(small_report(), tmp_path / "draft.dcm", source=volume))
        assert items(document, "IMAGE") == []
        assert any("Refers to no images" in item.TextValue for item in items(document, "TEXT"))

    def test_frames_of_one_file_are_numbered(self, tmp_path: Path) -> None:
        volume = chest(spacing=(30.0, 30.0, 40.0))
        write_multiframe(tmp_path / "ct.dcm", volume.voxels, volume.affine, order=tuple(range(volume.shape[2]))[::-1])
        source = read_volume(tmp_path / "ct.dcm")
        r, a, s = (float(value) for value in volume.geometry.center)
        report = placed((r, a, s + 60.0))
        document = pydicom.dcmread(write_report(report, tmp_path / "draft.dcm", source=source))
        assert items(document, "IMAGE")
        for point, image in zip(items(document, "SCOORD3D"), items(document, "IMAGE"), strict=True):
            frame = pydicom.dcmread(tmp_path / "ct.dcm").PerFrameFunctionalGroupsSequence[
                int(image.ReferencedSOPSequence[0].ReferencedFrameNumber) - 1
            ]
            position = frame.PlanePositionSequence[0].ImagePositionPatient[2]
            assert abs(float(position) - point.GraphicData[2]) <= source.spacing[2] / 2 + 0.01

    def test_images_that_are_gone_are_named(self, tmp_path: Path) -> None:
        volume = chest(spacing=(30.0, 30.0, 40.0))
        files = write_series(tmp_path / "series", volume.voxels, volume.affine)
        source = read_volume(tmp_path / "series")
        files[0].unlink()
        with pytest.raises(UnsupportedVolumeError, match="no longer where they were"):
            write_report(small_report(), tmp_path / "draft.dcm", source=source)
        assert not (tmp_path / "draft.dcm").exists()


class TestKeyImage:
    @pytest.mark.parametrize("orientation", ["RAS", "LPS", "ASL", "IRP"])
    def test_heat_lies_where_the_place_is_the_patients_right_on_the_left(self, orientation: str) -> None:
        volume = chest().reoriented(orientation)
        r, a, s = (float(value) for value in volume.geometry.center)
        place = (r + 80.0, a + 40.0, s)
        plain = np.asarray(Image.open(io.BytesIO(key_image(volume, place)))).astype(int)
        heated = np.asarray(Image.open(io.BytesIO(key_image(volume, place, scored(volume, place))))).astype(int)
        rows, columns = np.nonzero(np.abs(heated - plain).max(axis=2) > 20)
        height, width = plain.shape[:2]
        assert columns.mean() / width == pytest.approx(0.5 - 80 / 330, abs=0.03)
        assert rows.mean() / height == pytest.approx(0.5 - 40 / 250, abs=0.03)

    def test_a_place_outside_is_moved_to_the_rim(self) -> None:
        picture = Image.open(io.BytesIO(key_image(chest(), (9999.0, 0.0, -9999.0))))
        assert picture.width == WIDTH

    def test_unseen_and_flat_maps_leave_the_slice(self) -> None:
        volume = chest()
        center = tuple(float(value) for value in volume.geometry.center)
        evidence = scored(volume, center)
        evidence.values[:] = np.nan
        assert key_image(volume, center, evidence) == key_image(volume, center)


class TestBadInput:
    def test_an_empty_draft_is_refused(self, tmp_path: Path) -> None:
        report = small_report()
        empty = Report(case="c", sections=(), provenance=report.provenance)
        bare = Report(case="c", sections=(ReportSection(name="Findings", sentences=()),), provenance=report.provenance)
        for draft in (empty, bare):
            with pytest.raises(InputError, match="empty draft"):
                write_report(draft, tmp_path / "draft.md")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["draft.pdf", "draft", "draft.docx"])
    def test_an_unknown_suffix_lists_the_known_ones(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValueError, match=r"\.md, \.txt, \.json, \.html, \.dcm"):
            write_report(small_report(), tmp_path / name)

    @pytest.mark.parametrize("suffix", [".md", ".html", ".json", ".dcm"])
    def test_a_missing_folder_is_named(self, tmp_path: Path, suffix: str) -> None:
        with pytest.raises(ValueError, match='"nowhere" does not exist'):
            write_report(small_report(), tmp_path / "nowhere" / f"draft{suffix}")

    def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left(self, tmp_path: Path) -> None:
        (tmp_path / "draft.md").mkdir()
        with pytest.raises(OSError, match=r"draft\.md"):
            write_report(small_report(), tmp_path / "draft.md")
        assert [path.name for path in tmp_path.iterdir()] == ["draft.md"]

    def test_the_old_file_survives_a_failure(self, tmp_path: Path) -> None:
        path = write_report(small_report(), tmp_path / "draft.html")
        before = path.read_bytes()

        def broken(text: str) -> EvidenceMap:
            raise InputError(text)

        with pytest.raises(InputError):
            write_report(small_report("other"), path, source=chest(), evidence=broken)
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["draft.html"]
