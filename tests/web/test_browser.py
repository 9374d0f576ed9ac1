"""The page in a real headless Chromium: what a reader does with one case, and what happens when things go wrong.

Needs Chromium, the Python driver of playwright, and the viewer library; `make test-web` brings all three.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chests import chest
from random_bundles import save_random_bundle
from support.browsing import Watched
from support.browsing import browsing
from support.browsing import chromium
from support.serving import served_process
from support.serving import serving

from colipri_core.engine import Engine
from colipri_core.errors import MissingDependencyError
from colipri_core.inference.session import LocalSession
from colipri_core.io import read_volume
from colipri_core.io import write_volume
from colipri_core.remote.web.library import library_module

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: run make test-web")

TOKEN = "a-secret-of-some-length"
NOTICE = "Research use only, not for diagnosis"


@pytest.fixture(scope="module")
def library() -> bytes:
    try:
        return library_module()
    except MissingDependencyError as error:
        pytest.skip(f"no viewer library: {error}")


@pytest.fixture(scope="module")
def browser(library: bytes) -> Iterator[object]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine: run make test-web")
    with browsing(executable) as browser:
        yield browser


@pytest.fixture(autouse=True)
def with_library(library: bytes, without_registry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colipri_core.remote.web.library_module", lambda: library)


@pytest.fixture
def watched(browser) -> Iterator[Watched]:
    watched = Watched(browser)
    yield watched
    watched.page.close()


def cursor(watched: Watched) -> list[float]:
    words = watched.text("#readout").split()
    return [float(words[1]), float(words[3]), float(words[5])]


@pytest.mark.timeout(900)  # the shipped model on a whole CT, drawn in software
def test_reading_a_real_case(watched: Watched, shared_data: Path, tmp_path: Path):
    path = shared_data / "lung_masks" / "imlab_id001_ct.nii.gz"
    with served_process("tiny", state=tmp_path, options=["--web", str(path)]) as server:
        watched.open(server.url)
        assert NOTICE in watched.text("footer")
        assert "phantoms" in watched.text("#model")
        assert watched.page.is_visible("#synthetic")

        watched.analyse()
        numbers = [float(text) for text in watched.page.locator(".finding .number").all_inner_texts()]
        assert len(numbers) == 18
        assert numbers == sorted(numbers, reverse=True)
        assert watched.page.is_visible("#uncalibrated")
        watched.page.fill("#filter", "pleural eff")
        assert watched.page.locator(".finding .name").all_inner_texts() == ["Pleural effusion"]

        before = watched.page.locator("#slices").screenshot()
        watched.page.click(".finding")
        watched.wait('#heat-caption:has-text("Pleural effusion")')
        watched.idle()
        assert "not a probability" in watched.text("#heat-caption")
        assert watched.page.locator("#slices").screenshot() != before
        volume = read_volume(path)
        index = np.rint(volume.geometry.world_to_index(cursor(watched))).astype(int)
        assert f"{volume.voxels[tuple(index)]} HU" in watched.text("#readout")

        watched.page.click("#draft")
        watched.wait("#report h3")
        watched.idle()
        assert watched.text(".chip.draft") == "DRAFT"
        place = cursor(watched)
        for sentence in watched.page.locator(".sentence").all():
            sentence.click()
            watched.idle()
            if cursor(watched) != place:
                break
        else:
            pytest.fail("no sentence led anywhere else")
        assert watched.page.locator('.sentence[aria-pressed="true"]').count() >= 1
    assert watched.errors == []
    assert all(address.startswith((server.url, "data:")) for address in watched.addresses)


def test_any_phrase_can_be_asked(watched: Watched, url: str):
    watched.open(url)
    watched.page.fill("#phrase", "small nodule in the left upper lobe")
    watched.page.keyboard.press("Enter")
    watched.wait('#heat-caption:has-text("small nodule in the left upper lobe")')
    assert watched.page.locator(".finding.asked").count() == 1
    assert watched.errors == []


def test_clicks_make_a_mask_and_undo_takes_it_back(watched: Watched, url: str):
    watched.open(url)
    watched.page.check('input[value="positive"]')
    box = watched.page.locator("#slices").bounding_box()
    watched.page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    watched.wait("#undo:enabled")
    assert "Object 1" in watched.text("#label-note")
    watched.page.keyboard.press("Control+z")
    watched.wait("#redo:enabled")
    watched.page.click("#redo")
    watched.wait("#undo:enabled")
    assert watched.errors == []


def test_the_keyboard_moves_the_cursor(watched: Watched, url: str):
    watched.open(url)
    watched.page.focus("#slices")
    watched.page.keyboard.press("PageDown")  # from between two voxels to the middle of one
    start = cursor(watched)
    watched.page.keyboard.press("PageUp")
    watched.page.keyboard.press("Shift+ArrowLeft")
    moved = np.subtract(cursor(watched), start)
    spacing = chest().spacing
    np.testing.assert_allclose(moved, [10 * spacing[0], 0, spacing[2]], atol=0.2)


def test_cancel_ends_the_work_and_the_case_stays_usable(watched: Watched, url: str, monkeypatch: pytest.MonkeyPatch):
    def endless(self, findings=None, *, progress=None, cancel=None):
        for step in range(3000):
            progress(step / 3000, "working for very long")
            cancel.check()
            time.sleep(0.05)

    watched.open(url)
    with monkeypatch.context() as patch:
        patch.setattr(LocalSession, "classify", endless)
        watched.page.click("#analyse")
        watched.wait('#progress-text:has-text("working for very long")')
        watched.page.click("#cancel")
        watched.idle()
        assert "cancelled" in watched.text("#notice").lower()
    watched.analyse()
    assert watched.page.locator(".finding").count() == 18
    assert watched.page.is_hidden("#notice")
    assert "spacing" in watched.text("#warnings")


@pytest.mark.timeout(900)  # two servers begin from nothing
def test_a_killed_server_is_said_and_its_successor_goes_on(watched: Watched, ct: Path, tmp_path: Path):
    options, model, state = ["--web", str(ct)], save_random_bundle(tmp_path / "random"), tmp_path / "state"
    with served_process(model, state=state, options=options) as server:
        watched.open(server.url)
        watched.page.check('input[value="positive"]')
        box = watched.page.locator("#slices").bounding_box()
        watched.page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
        watched.wait("#undo:enabled")
        labelled = watched.text("#label-note")
        server.kill()
        watched.page.click("#analyse")
        watched.wait('#notice:has-text("does not answer")')
        port = int(server.url.rpartition(":")[2])
    with served_process(model, state=state, port=port, options=options):
        watched.page.locator("#notice").wait_for(state="hidden")
        watched.wait("#undo:enabled")
        assert watched.text("#label-note") == labelled
        watched.analyse()


def test_the_token_is_asked_for_once_and_stands_in_no_address(watched: Watched, engine: Engine, ct: Path):
    with serving(engine, web=True, cases=(ct,), token=TOKEN) as url:
        watched.page.goto(f"{url}/")
        for secret in ("another-secret-of-that-length", TOKEN):
            watched.wait("#token-dialog[open]")
            watched.page.fill("#token", secret)
            watched.page.click("#token-dialog button")
        watched.wait('#readout:has-text("mm")')
        watched.page.reload()
        watched.wait('#readout:has-text("mm")')
    assert not any(TOKEN in address for address in watched.addresses)


def test_a_file_is_sent_and_a_wrong_one_refused(watched: Watched, url: str, tmp_path: Path):
    watched.open(url)
    (tmp_path / "notes.txt").write_text("no image")
    watched.page.set_input_files("#file", tmp_path / "notes.txt")
    assert "Expected a NIfTI file" in watched.text("#notice")
    (tmp_path / "bad.nii.gz").write_bytes(b"garbage")
    watched.page.set_input_files("#file", tmp_path / "bad.nii.gz")
    watched.wait('#notice:has-text("Check that it opens elsewhere")')
    oblique = write_volume(chest().reoriented("PIR"), tmp_path / "own.nii.gz")
    watched.page.set_input_files("#file", oblique)
    watched.page.locator("#notice").wait_for(state="hidden")
    watched.idle()
    assert watched.page.input_value("#case") == ""
    np.testing.assert_allclose(cursor(watched), chest().geometry.center, atol=4.0)


def test_a_large_ct_is_shown_reduced_and_says_so(watched: Watched, engine: Engine, tmp_path: Path):
    volume = chest(spacing=(1.4, 1.4, 2.0))
    path = write_volume(volume, tmp_path / "large.nii.gz")
    with serving(engine, web=True, cases=(path,)) as url:
        watched.open(url)
        assert "reduced by" in watched.text("#display-note")
        watched.wait('#readout:has-text("HU")')
        index = np.rint(volume.geometry.world_to_index(cursor(watched))).astype(int)
        near = volume.voxels[tuple(slice(n - 1, n + 2) for n in index)]
        shown = float(watched.text("#readout").split()[-2])
        assert shown in near
