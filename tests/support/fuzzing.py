"""Asks a server what is wrong and watches that nothing comes of it; in short in tests, at length by `make fuzz`."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import schemathesis
from chests import chest
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import given
from hypothesis import settings

from colipri_core.editing.edits import AddObject
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.streams import FrameReader
from colipri_core.remote.protocol.version import FRAME_TYPE

from .mutations import mutations
from .mutations import targets
from .wire import Caller

VOLUME = chest(spacing=(20.0, 20.0, 24.0))
_TIMEOUT_S = 60
schemathesis.serializer.alias(FRAME_TYPE, "application/octet-stream")


@dataclasses.dataclass
class Watch:
    """What must stay as it is.

    Args:
        session: A session nobody fuzzes.
        target: A session that is fuzzed.
        changed: What changed all the same.
    """

    session: str
    target: str
    changed: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def watched(url: str, folder: Path) -> Iterator[Watch]:
    """Hold a session beside what is fuzzed in the body; say afterwards whether it or a file elsewhere changed.

    Args:
        url: The server.
        folder: The folder above its state folder "state".
    """
    with Caller(url) as caller:
        caller.upload(VOLUME)
        watch = Watch(session=caller.open(VOLUME.sha256), target=caller.open(VOLUME.sha256))
        caller.edit(watch.session, AddObject(name="Beside"), after=0, shape=VOLUME.shape)
        before, files = caller.state(watch.session), _files(folder)
        yield watch
        if caller.state(watch.session)["state"]["objects"] != before["state"]["objects"]:
            watch.changed.append("the session beside")
        watch.changed += [str(path) for path in _files(folder) - files]


def send_damaged(url: str, watch: Watch, *, count: int, seed: int = 0) -> collections.Counter[str]:
    """Send damaged binary bodies; returns how often what was answered.

    Args:
        url: The server.
        watch: Names the session to ask.
        count: How many.
        seed: Decides the damage.
    """
    found: collections.Counter[str] = collections.Counter()
    asked = targets(VOLUME)
    sources = [mutations(target.body, seed=seed + number) for number, target in enumerate(asked)]
    with Caller(url) as caller:
        for target, source in itertools.islice(itertools.cycle(zip(asked, sources, strict=True)), count):
            headers = {"Content-Type": FRAME_TYPE}
            path = target.path.format(session=watch.target)
            try:
                answer = caller.http.request(target.method, path, content=next(source), headers=headers)
            except httpx2.TimeoutException:
                found["hang"] += 1
                continue
            found[_outcome(answer)] += 1
            if target.path == "/v1/sessions" and answer.status_code == httpx2.codes.OK:
                caller.http.delete(f"/v1/sessions/{answer.json()['session']}")
    return found


def ask_by_schema(url: str, *, examples: int) -> collections.Counter[str]:
    """Make requests from the server's own schema; returns how often what was answered.

    Args:
        url: The server.
        examples: How many for each operation.
    """
    found: collections.Counter[str] = collections.Counter()
    schema = schemathesis.openapi.from_dict(httpx2.get(f"{url}/openapi.json").json())
    for result in schema.get_all_operations():
        _ask(result.ok(), url, examples, found)
    return found


def _ask(operation: Any, url: str, examples: int, found: collections.Counter[str]) -> None:
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        answer = case.call(base_url=url, timeout=_TIMEOUT_S, headers={"Colipri-Protocol": "1"})
        status = str(answer.status_code)
        allowed = {str(code) for code in operation.definition.raw["responses"]}
        fits = status in allowed or f"{status[0]}XX" in allowed
        found[status if fits else f"fault {status} of {operation.label}"] += 1

    ask()


def _outcome(answer: httpx2.Response) -> str:
    """Status of an answer, with the code of the error that a stream ended with."""
    if answer.status_code != httpx2.codes.OK or answer.headers["content-type"] != FRAME_TYPE:
        return str(answer.status_code)
    *_, last = FrameReader().feed(answer.content)
    if last.kind is not Kind.ERROR:
        return "200"
    code = last.body["error"]["code"]
    return "fault" if code == "server-fault" else f"200 {code}"


def _files(folder: Path) -> set[Path]:
    """Files outside the state folder and the engine's cache."""
    own = {folder / "state", folder / "cache"}
    return {path for path in folder.rglob("*") if not own & set(path.parents) | ({path} & own)}
