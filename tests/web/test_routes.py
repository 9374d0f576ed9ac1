"""The routes of the page over a real server: the same results as the engine's, and words for everything bad."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from chests import chest
from pages import Page
from pages import array
from pages import code
from pages import sentences
from support.serving import serving

from colipri_core.engine import Engine
from colipri_core.io import write_volume
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.server.settings import Limits

TOKEN = "a-secret-of-some-length"
BUDGET = 100_000


class TestCase:
    def test_about_names_the_model_and_the_cases(self, page: Page, engine: Engine):
        about = page.get("/web/api/about").json()
        assert about["model"]["notice"].endswith("Research use only, not for diagnosis.")
        assert about["cases"] == ["chest.nii.gz"]
        assert about["capabilities"] == {
            "free_text": engine.capabilities.free_text,
            "structures": len(engine.capabilities.structures),
        }

    def test_an_opened_case_says_where_it_lies(self, page: Page):
        case = page.open("chest.nii.gz")
        volume = chest()
        assert case["shape"] == list(volume.shape)
        assert case["name"] == "chest"
        np.testing.assert_allclose(case["center_ras"], volume.geometry.center, atol=0.01)
        assert page.get(f"/web/api/sessions/{case['session']}").json()["session"] == case["session"]

    def test_the_volume_comes_with_its_affine(self, page: Page):
        case, volume = page.open("chest.nii.gz"), chest()
        shown = page.image(f"/web/api/sessions/{case['session']}/volume?voxels=20000000")
        np.testing.assert_array_equal(array(shown), volume.voxels)
        np.testing.assert_allclose(shown.affine, volume.affine, atol=1e-5)
        reduced = page.image(f"/web/api/sessions/{case['session']}/volume?voxels={BUDGET}")
        assert 0 < array(reduced).size <= BUDGET

    def test_hu_under_the_cursor_are_the_volumes_own(self, page: Page):
        case, volume = page.open("chest.nii.gz"), chest()
        path = f"/web/api/sessions/{case['session']}/intensity"
        r, a, s = volume.geometry.index_to_world((11, 17, 23)) + 0.4
        assert page.get(path, params={"r": r, "a": a, "s": s}).json()["value"] == volume.voxels[11, 17, 23]
        assert page.get(path, params={"r": 900, "a": 0, "s": 0}).json()["value"] is None
        assert page.get(path, params={"r": "nan", "a": 0, "s": 0}).json()["value"] is None

    def test_cases_below_the_root_can_be_chosen_but_nothing_else(self, engine: Engine, ct: Path, tmp_path: Path):
        root = tmp_path / "root"
        (root / "study").mkdir(parents=True)
        (root / "notes.txt").write_text("no image")
        (root / "study" / "ct.nii.gz").write_bytes(ct.read_bytes())
        with serving(engine, web=True, root=root) as url:
            page = Page(url)
            assert page.get("/web/api/about").json()["cases"] == ["study/ct.nii.gz"]
            assert page.open("study/ct.nii.gz")["shape"] == list(chest().shape)
            for name in ("../ct.nii.gz", str(ct), "study/../../ct.nii.gz", "study/gone.nii.gz", ""):
                answer = page.post("/web/api/cases", json={"name": name})
                assert 400 <= answer.status_code < 500, name
                assert str(tmp_path) not in answer.text


class TestResults:
    def test_evidence_is_the_engines_and_its_drawing_peaks_there(self, page: Page, engine: Engine):
        case = page.open("chest.nii.gz")
        base = f"/web/api/sessions/{case['session']}"
        found = page.work(f"{base}/evidence", {"text": "Pleural effusion"})
        with engine.open(chest()) as session:
            evidence = session.evidence("Pleural effusion")
        assert found["peak_value"] == pytest.approx(evidence.peak_value, abs=1e-6)
        np.testing.assert_allclose(found["peak_ras"], evidence.peak_ras, atol=0.01)
        drawing = page.image(f"{base}/drawings/{found['drawing']}")
        index = np.rint(chest().geometry.world_to_index(found["peak_ras"])).astype(int)
        assert array(drawing)[tuple(index)] == 255

    def test_structures_are_the_engines_with_a_place_in_each(self, page: Page, engine: Engine):
        case = page.open("chest.nii.gz")
        base = f"/web/api/sessions/{case['session']}"
        found = page.work(f"{base}/segment", {})
        with engine.open(chest()) as session:
            segmentation = session.segment()
        drawing = page.image(f"{base}/drawings/{found['drawing']}")
        np.testing.assert_array_equal(array(drawing), segmentation.labelmap)
        assert [row["name"] for row in found["segments"]] == [segment.name for segment in segmentation.segments]
        seen = [row for row in found["segments"] if row["center_ras"] is not None]
        assert seen
        for row in seen:
            index = np.rint(segmentation.geometry.world_to_index(row["center_ras"])).astype(int)
            assert segmentation.labelmap[tuple(index)] == row["label"]
            assert row["volume_ml"] > 0

    def test_a_report_streams_its_sentences_and_says_draft(self, page: Page):
        case = page.open("chest.nii.gz")
        frames = page.frames(f"/web/api/sessions/{case['session']}/report", {})
        draft = frames[-1].body
        assert draft["status"] == "DRAFT"
        assert any("Research use only" in notice for notice in draft["notices"])
        rows = [row for section in draft["sections"][:2] for row in section["sentences"]]
        assert {row["text"] for row in rows} >= {body["text"] for body in sentences(frames)}
        assert all(row["details"] for row in rows)
        assert any(row["place_ras"] for row in rows)

    def test_clicks_go_to_the_servers_own_routes_and_labels_can_be_drawn(self, page: Page, engine: Engine):
        case = page.open("chest.nii.gz")
        calls, place = f"/v1/sessions/{case['session']}", [-68.0, 0.0, -250.0]
        body = {"prompt": {"kind": "point", "ras": place, "positive": True}, "after": 0, "label": 1}
        answer = page.work(f"{calls}/prompt", body)
        assert answer["revision"] == 1
        drawing = page.image(f"/web/api/sessions/{case['session']}/labels")
        assert (array(drawing) == 1).sum() == answer["state"]["voxels"]["1"] > 0
        page.work(f"{calls}/undo", {"after": 1})
        assert array(page.image(f"/web/api/sessions/{case['session']}/labels")).max() == 0

    def test_what_is_drawn_goes_with_its_session(self, page: Page):
        first, second = page.open("chest.nii.gz"), page.open("chest.nii.gz")
        found = page.work(f"/web/api/sessions/{first['session']}/evidence", {"text": "Lung nodule"})
        assert code(page.get(f"/web/api/sessions/{second['session']}/drawings/{found['drawing']}")) == "not-found"
        page.client.delete(f"/v1/sessions/{first['session']}")
        answer = page.get(f"/web/api/sessions/{first['session']}/drawings/{found['drawing']}")
        assert code(answer) == "session-unknown"


class TestUpload:
    def send(self, page: Page, content: bytes, name: str):
        return page.post("/web/api/uploads", content=content, headers={"Colipri-Name": name})

    def test_a_file_is_opened_and_no_copy_stays(self, engine: Engine, ct: Path, tmp_path: Path):
        state = tmp_path / "state"
        with serving(engine, web=True, state=state) as url:
            answer = self.send(Page(url), ct.read_bytes(), "my%20scan.nii.gz")
            assert answer.status_code == 200, answer.text
            assert answer.json()["name"] == "my scan"
            assert not list((state / "uploads").iterdir())

    @pytest.mark.parametrize(
        ("content", "name", "expected"),
        [
            (b"", "ct.nii.gz", "unreadable-input"),
            (b"garbage" * 100, "ct.nii", "unreadable-input"),
            (gzip.compress(b"garbage" * 100), "ct.nii.gz", "unreadable-input"),
            (b"whatever", "ct.dcm", "unreadable-input"),
            (b"whatever", "..%2F..%2Fetc%2Fpasswd", "unreadable-input"),
            (b"whatever", "", "unreadable-input"),
        ],
        ids=["nothing", "noise", "zipped noise", "another suffix", "a path", "no name"],
    )
    def test_what_is_no_nifti_is_refused_in_words(self, page: Page, content: bytes, name: str, expected: str):
        answer = self.send(page, content, name)
        assert answer.status_code < 500
        assert code(answer) == expected
        assert "Traceback" not in answer.text

    def test_a_truncated_file_and_a_flat_one_are_refused(self, page: Page, ct: Path, tmp_path: Path):
        assert code(self.send(page, ct.read_bytes()[:-2000], "ct.nii.gz")) == "unreadable-input"
        flat = nibabel.Nifti1Image(np.zeros((20, 20), np.int16), np.eye(4))
        assert code(self.send(page, flat.to_bytes(), "ct.nii")) == "unsupported-volume"

    def test_a_name_does_not_reach_another_folder(self, page: Page, ct: Path):
        answer = self.send(page, ct.read_bytes(), "..%2F..%2F..%2Fevil.nii.gz")
        assert answer.json()["name"] == "evil"

    def test_what_is_too_large_is_refused_before_it_is_unpacked(self, engine: Engine):
        bomb = nibabel.Nifti1Image(np.zeros((200, 200, 200), np.uint8), np.eye(4)).to_bytes()
        with serving(engine, web=True, limits=Limits(volume_voxels=1_000_000)) as url:
            assert code(self.send(Page(url), gzip.compress(bomb), "ct.nii.gz")) == "too-large"
            assert code(self.send(Page(url), bytes(4 * 2**20), "ct.nii")) == "too-large"


class TestGuard:
    def test_a_page_of_another_site_is_refused(self, page: Page):
        answer = Page(str(page.client.base_url), headers={}).post("/web/api/cases", json={"name": "chest.nii.gz"})
        assert code(answer) == "protocol-mismatch"
        answer = page.get("/web/api/about", headers={"Host": "evil.example.org"})
        assert answer.status_code == 401

    def test_the_token_guards_all_but_the_page_itself(self, engine: Engine, ct: Path):
        with serving(engine, web=True, cases=(ct,), token=TOKEN) as url:
            stranger, known = Page(url), Page(url)
            known.client.headers["Authorization"] = f"Bearer {TOKEN}"
            assert stranger.get("/web/").status_code == 200
            assert stranger.get("/web/app.js").status_code == 200
            assert code(stranger.get("/web/api/about")) == "bad-token"
            assert code(stranger.post("/web/api/uploads", content=b"x")) == "bad-token"
            session = known.open("chest.nii.gz")["session"]
            assert code(stranger.get(f"/web/api/sessions/{session}/volume")) == "bad-token"

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/web/api/cases", {"name": 3}),
            ("/web/api/cases", {"file": "chest.nii.gz"}),
            ("/web/api/sessions/none/evidence", {"text": "x"}),
            ("/web/api/sessions/00000000000000000000000000000000/segment", {}),
        ],
    )
    def test_bad_bodies_and_sessions_are_4xx_with_a_code(self, page: Page, path: str, body: dict):
        answer = page.post(path, json=body)
        assert 400 <= answer.status_code < 500
        assert code(answer)

    def test_bad_questions_end_their_stream_with_words(self, page: Page):
        session = page.open("chest.nii.gz")["session"]
        frames = page.frames(f"/web/api/sessions/{session}/evidence", {"text": "  "})
        assert frames[-1].kind is Kind.ERROR
        assert frames[-1].body["error"]["code"]
        answer = page.post(f"/web/api/sessions/{session}/evidence", json={"text": "x", "voxels": 10})
        assert answer.status_code == 422
        assert page.get(f"/web/api/sessions/{session}/volume?voxels=-5").status_code == 422


def test_without_the_option_there_is_no_page(engine: Engine):
    with serving(engine) as url:
        assert Page(url).get("/web/").status_code == 404
        assert Page(url).get("/web/api/about").status_code == 404


def test_a_case_is_taken_up_by_the_next_server(engine: Engine, ct: Path, tmp_path: Path):
    with serving(engine, web=True, cases=(ct,), state=tmp_path) as url:
        session = Page(url).open("chest.nii.gz")["session"]
        body = {"prompt": {"kind": "point", "ras": [-68.0, 0.0, -250.0], "positive": True}, "after": 0}
        Page(url).work(f"/v1/sessions/{session}/prompt", body)
    with serving(engine, web=True, cases=(ct,), state=tmp_path) as url:
        case = Page(url).get(f"/web/api/sessions/{session}").json()
        assert case["revision"] == 1
        assert case["state"]["undo"]
        assert array(Page(url).image(f"/web/api/sessions/{session}/labels")).max() == 1


def test_left_handed_and_oblique_cases_are_drawn_in_their_place(engine: Engine, tmp_path: Path):
    volume = chest().reoriented("LAS")
    path = write_volume(volume, tmp_path / "las.nii.gz")
    with serving(engine, web=True, cases=(path,)) as url:
        page = Page(url)
        case = page.open("las.nii.gz")
        shown = page.image(f"/web/api/sessions/{case['session']}/volume")
        np.testing.assert_allclose(shown.affine, volume.affine, atol=1e-5)
