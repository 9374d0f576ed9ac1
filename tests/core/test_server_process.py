"""`colipri serve` as a process: killed at work, found again, stopped in order, and silent about patients."""

from __future__ import annotations

import json
import signal
import threading

import httpx2
import numpy as np
import pytest
from chests import chest
from random_bundles import save_random_bundle
from support.serving import served_process
from support.wire import Caller

from colipri_core.editing.log import replay_log
from colipri_core.errors import ServerStoppingError
from colipri_core.io import write_volume
from colipri_core.remote.protocol.errors import error_from_body
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.streams import FrameReader

VOLUME = chest(spacing=(12.0, 12.0, 14.0))
TOKEN = "a-secret-of-some-length"
PHRASE = "unmistakable lesion of the left hilum"
NAME = "MILLER_HANS_19500101"
MANY = [f"{PHRASE} {number}" for number in range(20_000)]


def log_of(caller: Caller, session: str) -> dict:
    *_, last = FrameReader().feed(caller.http.get(f"/v1/sessions/{session}/log").content)
    return last.body


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A server is killed while it answers; a second one on its folder is stopped while it answers."""
    folder = tmp_path_factory.mktemp("process")
    bundle, state, root = save_random_bundle(folder / "bundle"), folder / "state", folder / "root"
    root.mkdir()
    write_volume(VOLUME, root / f"{NAME}.nii.gz")
    found: dict = {"folder": folder}
    options, environment = ["--root", str(root)], {"COLIPRI_SERVER_TOKEN": TOKEN}
    with (
        served_process(bundle, state=state, options=options, environment=environment) as first,
        Caller(first.url, token=TOKEN) as caller,
    ):
        caller.http.post("/v1/volumes/open", json={"path": f"{NAME}.nii.gz"}).raise_for_status()
        caller.http.post("/v1/volumes/open", json={"path": f"../{NAME}.txt"})
        session = caller.open(caller.upload(VOLUME), name=NAME)
        for number, share in enumerate((0.3, 0.5, 0.7)):
            caller.point(session, VOLUME, np.array(VOLUME.shape) * share // 1, after=number)
        found["labels"] = caller.labels(session, VOLUME.shape)
        caller.ask(session, "evidence", {"text": PHRASE})
        caller.ask(session, "check", {"sentences": [f"There is an {PHRASE}."]})
        with caller.call(session, "classify", {"findings": MANY}) as frames:
            next(frames)
            first.kill()
            with pytest.raises(httpx2.HTTPError):
                list(frames)
    with (
        served_process(bundle, state=state, options=options, environment=environment) as second,
        Caller(second.url, token=TOKEN) as caller,
    ):
        found["state"] = caller.state(session)
        found["again"] = caller.labels(session, VOLUME.shape)
        found["log"] = log_of(caller, session)
        with caller.call(session, "classify", {"findings": MANY}) as frames:
            next(frames)
            stopping = threading.Timer(0.5, second.process.send_signal, [signal.SIGTERM])
            stopping.start()
            *_, found["last"] = frames
        found["status"] = second.process.wait(60)
    found["text"] = second.log.read_text(encoding="utf-8")
    return found


def test_nothing_acknowledged_is_lost_when_a_server_is_killed(story: dict) -> None:
    assert story["state"]["revision"] == 3
    assert story["state"]["state"]["undo"] == ["point"] * 3
    np.testing.assert_array_equal(story["again"], story["labels"])
    np.testing.assert_array_equal(replay_log(story["log"]).labelmap, story["labels"])


def test_a_stop_is_told_and_is_a_success(story: dict) -> None:
    assert story["last"].kind is Kind.ERROR
    assert isinstance(error_from_body(story["last"].body), ServerStoppingError)
    assert story["status"] == 0


def test_the_log_is_json_and_knows_no_patient(story: dict) -> None:
    lines = [json.loads(line) for line in story["text"].splitlines()]
    events = {line["event"] for line in lines}

    assert {"started", "request", "job", "session_taken_up", "stopping", "stopped"} <= events
    assert {line["route"] for line in lines if line["event"] == "request"} >= {"/v1/volumes/open"}
    for secret in (NAME, "lesion", TOKEN, VOLUME.sha256, story["state"]["session"], str(story["folder"]), "nii"):
        assert secret not in story["text"]
