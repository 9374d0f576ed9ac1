"""Work a server hard: many clients with random prompts, cancels and disconnects, for as long as you like.

    python benchmarks/soak.py [--minutes 5] [--clients 8] [--model tiny] [--device cpu] [--output F.json]

The server runs in a process of its own. Each client has a session on one of a few volumes; it clicks, paints, undoes
and redoes, asks for findings, hangs up in the middle, cancels by name, repeats calls whose answer it threw away, and
opens its session anew. At the end the labels of each client must equal those that its log replays to, made here
without a model. Any error that is not the client's own, and memory that grew by more than 5 % after the warm-up (the
first third), fail the run. Memory is the server's resident set, as its own metrics give it; medians of the first and
the last quarter after the warm-up are compared.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import httpx2  # noqa: E402
import numpy as np  # noqa: E402
from chests import chest  # noqa: E402
from support.serving import served_process  # noqa: E402
from support.wire import Caller  # noqa: E402

from colipri_core.editing.edits import AddObject  # noqa: E402
from colipri_core.editing.edits import Paint  # noqa: E402
from colipri_core.editing.log import replay_log  # noqa: E402
from colipri_core.errors import Cancelled  # noqa: E402
from colipri_core.errors import EmptyHistoryError  # noqa: E402
from colipri_core.errors import OutOfStepError  # noqa: E402
from colipri_core.errors import ServerBusyError  # noqa: E402
from colipri_core.prompts import Crop  # noqa: E402
from colipri_core.remote.protocol.streams import FrameReader  # noqa: E402
from colipri_core.remote.protocol.version import JOB_HEADER  # noqa: E402
from colipri_core.volume import Volume  # noqa: E402

MOST_GROWTH = 0.05
WARM_UP = 1 / 3
SAMPLE_S = 0.5
LONGEST_HISTORY = 40
"""Edits after which a client begins a new session, so that memory has a level to stay at."""

OWN = (Cancelled, EmptyHistoryError, OutOfStepError)
"""Errors that a client brought upon itself."""


class Client:
    """One client at random work.

    Args:
        url: The server.
        volume: Its volume, which the server holds.
        end: When to stop, by `time.monotonic`.
        seed: Decides what it does.
    """

    def __init__(self, url: str, volume: Volume, end: float, seed: int) -> None:
        self.done: collections.Counter[str] = collections.Counter()
        self.errors: list[str] = []
        self.replays: list[bool] = []
        self._url = url
        self._volume = volume
        self._end = end
        self._chance = random.Random(seed)
        self._revision = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        """Work until the end."""
        while time.monotonic() < self._end:
            with Caller(self._url) as caller:
                try:
                    self._work(caller)
                except Exception as error:
                    self.errors.append(f"{type(error).__name__}: {error}"[:300])

    def _work(self, caller: Caller) -> None:
        """One session: random work, then its labels are compared with those of its log."""
        session = caller.open(self._volume.sha256)
        self._revision = 0
        while time.monotonic() < self._end and self._revision < LONGEST_HISTORY:
            kind = self._chance.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])[0]
            try:
                _KINDS[kind][1](self, caller, session)
                self.done[kind] += 1
            except OWN as error:
                self.done[f"{kind}: {type(error).__name__}"] += 1
                self._revision = caller.state(session)["revision"]
            except ServerBusyError:
                self.done["busy"] += 1
                time.sleep(0.2)
        self.replays.append(self._replay_is_equal(caller, session))
        caller.http.delete(f"/v1/sessions/{session}").raise_for_status()

    def _replay_is_equal(self, caller: Caller, session: str) -> bool:
        labels = caller.labels(session, self._volume.shape)
        *_, last = FrameReader().feed(caller.http.get(f"/v1/sessions/{session}/log").raise_for_status().content)
        return bool(np.array_equal(replay_log(last.body).labelmap, labels))

    def _click(self, caller: Caller, session: str, *, job: str = "") -> None:
        index = [self._chance.randrange(size) for size in self._volume.shape]
        label = self._chance.choice((1, 1, 2))
        answer = caller.point(session, self._volume, index, after=self._revision, job=job, label=label)
        self._revision = answer.revision

    def _paint(self, caller: Caller, session: str, *, job: str = "") -> None:
        lower = tuple(self._chance.randrange(size - 4) for size in self._volume.shape)
        mask = np.ones((4, 4, 4), dtype=bool)
        edit = Paint(voxels=Crop(lower=lower, mask=mask), label=self._chance.choice((0, 1, 2)))
        answer = caller.edit(session, edit, after=self._revision, shape=self._volume.shape, job=job)
        self._revision = answer.revision

    def _add(self, caller: Caller, session: str) -> None:
        edit = AddObject(name="Something")
        self._revision = caller.edit(session, edit, after=self._revision, shape=self._volume.shape).revision

    def _undo(self, caller: Caller, session: str) -> None:
        verb = self._chance.choice(("undo", "undo", "redo"))
        frames = caller.ask(session, verb, {"after": self._revision})
        self._revision = frames[-1].body["revision"]

    def _repeat(self, caller: Caller, session: str) -> None:
        """Send one call twice, as a client does whose answer was lost."""
        job, before = str(uuid.uuid4()), self._revision
        chance = self._chance.getstate()
        self._paint(caller, session, job=job)
        first, self._revision = self._revision, before
        self._chance.setstate(chance)
        self._paint(caller, session, job=job)
        if self._revision != first:
            self.errors.append("a repeated call was made twice")

    def _ask(self, caller: Caller, session: str) -> None:
        verb = self._chance.choice(("classify", "evidence"))
        body = {"text": self._chance.choice(("nodule", "effusion", "emphysema"))} if verb == "evidence" else {}
        caller.ask(session, verb, body)

    def _hang_up(self, caller: Caller, session: str) -> None:
        """Leave in the middle of a call; whether it was made is found out afterwards."""
        r, a, s = self._volume.geometry.center
        body = {"prompt": {"kind": "point", "ras": [float(r), float(a), float(s)]}, "after": self._revision}
        timeout = httpx2.Timeout(60, read=self._chance.uniform(0.001, 0.2))
        with contextlib.suppress(httpx2.TimeoutException):
            caller.http.post(f"/v1/sessions/{session}/prompt", json=body, timeout=timeout)
        self._revision = self._settled(caller, session)

    def _cancel(self, caller: Caller, session: str) -> None:
        job = str(uuid.uuid4())
        timer = threading.Timer(self._chance.uniform(0, 0.2), self._delete, [job])
        timer.start()
        try:
            self._click(caller, session, job=job)
        finally:
            timer.join()

    def _delete(self, job: str) -> None:
        with Caller(self._url) as caller:
            caller.http.delete(f"/v1/jobs/{job}", headers={JOB_HEADER: job})

    def _reopen(self, caller: Caller, session: str) -> None:
        """Look at the session with a fresh connection."""
        with Caller(self._url) as other:
            if other.state(session)["revision"] < self._revision:
                self.errors.append("an edit that was answered is lost")

    def _settled(self, caller: Caller, session: str) -> int:
        """The revision once the call that was left has ended: reading the labels waits for edits."""
        caller.labels(session, self._volume.shape)
        return int(caller.state(session)["revision"])


_KINDS: dict[str, tuple[int, Any]] = {
    "click": (6, Client._click),
    "paint": (5, Client._paint),
    "add": (1, Client._add),
    "undo": (3, Client._undo),
    "repeat": (1, Client._repeat),
    "ask": (2, Client._ask),
    "hang up": (2, Client._hang_up),
    "cancel": (2, Client._cancel),
    "reopen": (1, Client._reopen),
}


def resident_bytes(caller: Caller) -> int:
    """Memory of the server."""
    lines = caller.http.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("process_resident_memory_bytes "))))


def main() -> int:
    """Run, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "soak.json")
    options = parser.parse_args()
    volumes = [chest(spacing=(4.0, 4.0, 5.0), seed=seed) for seed in range(3)]
    with (
        tempfile.TemporaryDirectory() as folder,
        served_process(options.model, state=Path(folder), options=["--device", options.device]) as server,
        Caller(server.url) as caller,
    ):
        for volume in volumes:
            caller.upload(volume)
        start = time.monotonic()
        end = start + options.minutes * 60
        clients = [Client(server.url, volumes[n % len(volumes)], end, n) for n in range(options.clients)]
        for client in clients:
            client.thread.start()
        memory = []
        while any(client.thread.is_alive() for client in clients):
            memory.append((time.monotonic() - start, resident_bytes(caller)))
            time.sleep(SAMPLE_S)
        status = server.stop()
    document = summary(options, clients, memory, status)
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return int(not document["passed"])


def summary(
    options: argparse.Namespace, clients: list[Client], memory: list[tuple[float, int]], status: int
) -> dict[str, Any]:
    """What was done and found, as JSON values."""
    done = sum((client.done for client in clients), collections.Counter())
    errors = [error for client in clients for error in client.errors]
    replays = [equal for client in clients for equal in client.replays]
    warm = [size for moment, size in memory if moment >= WARM_UP * options.minutes * 60]
    quarter = max(1, len(warm) // 4)
    first, last = statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])
    growth = last / first - 1
    return {
        "minutes": options.minutes,
        "clients": options.clients,
        "model": options.model,
        "device": options.device,
        "calls": dict(sorted(done.items())),
        "errors": errors,
        "sessions": len(replays),
        "replays_equal": sum(replays),
        "memory_mib": {"after_warm_up": round(first / 2**20, 1), "at_the_end": round(last / 2**20, 1)},
        "memory_growth": round(growth, 4),
        "exit_status": status,
        "passed": not errors and all(replays) and growth <= MOST_GROWTH and status == 0 and bool(replays),
    }


if __name__ == "__main__":
    sys.exit(main())
