"""Asks a server what is wrong and watches that nothing comes of it; in short in tests, at length by `make fuzz`."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import schemathesis
from chests import chest
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import given
from hypothesis import settings

from colipri_core.cases import CaseSource
from colipri_core.editing.edits import AddObject
from colipri_core.engine import Engine
from colipri_core.index import open_store
from colipri_core.index.add import encode_volume
from colipri_core.provenance import ModelCard
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.streams import FrameReader
from colipri_core.remote.protocol.version import FRAME_TYPE

from .mutations import mutations
from .mutations import odd_prompts
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
    with Caller(url) as caller:
        card = from_plain(ModelCard, caller.http.get("/v1/model").json()["card"])
        asked = targets(VOLUME, card)
        sources = [mutations(target.body, seed=seed + number) for number, target in enumerate(asked)]
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


def prompt_oddly(url: str, watch: Watch, *, count: int, seed: int = 0) -> collections.Counter[str]:
    """Send prompts with values that nobody sends; returns how often what was answered.

    Args:
        url: The server.
        watch: Names the session to ask.
        count: How many.
        seed: Decides the values.
    """
    found: collections.Counter[str] = collections.Counter()
    path = f"/v1/sessions/{watch.target}"
    with Caller(url) as caller:
        for body in itertools.islice(odd_prompts(VOLUME, seed=seed), count):
            if body.get("after") == 0:
                body["after"] = caller.state(watch.target)["revision"]
            try:
                found[_outcome(caller.http.post(f"{path}/prompt", json=body))] += 1
            except httpx2.TimeoutException:
                found["hang"] += 1
    return found


def fill_store(engine: Engine, folder: Path) -> str:
    """Make a case store that `serving` can offer as "lab", with the volume that is asked about; returns its address.

    Args:
        engine: The model behind the server.
        folder: Where it is made.
    """
    source = CaseSource(case="case", path="", report="There is a nodule.")
    open_store(folder, "w").add([encode_volume(engine, source, VOLUME)])
    return str(folder)


def ask_by_schema(url: str, *, examples: int) -> collections.Counter[str]:
    """Make requests from the server's own schema, about what is there; returns how often what was answered.

    An answer that is not of the schema, or whose body is not, counts as a fault.

    Args:
        url: The server, with the store "lab".
        examples: How many for each operation.
    """
    found: collections.Counter[str] = collections.Counter()
    schema = schemathesis.openapi.from_dict(httpx2.get(f"{url}/openapi.json").json())
    with Caller(url) as caller:
        caller.upload(VOLUME)
        for result in schema.get_all_operations():
            _ask(result.ok(), _Place(caller), examples, found)
    return found


class _Place:
    """What paths name: a live volume, a store that is served, and a session that is opened anew when it was ended."""

    def __init__(self, caller: Caller) -> None:
        self.url = str(caller.http.base_url).rstrip("/")
        self._caller = caller
        self._session = caller.open(VOLUME.sha256)

    def fill(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a path; those of other names stay as they were made up."""
        live = {"digest": VOLUME.sha256, "name": "lab"}
        if "session" in parameters:
            if self._caller.http.get(f"/v1/sessions/{self._session}").status_code != httpx2.codes.OK:
                self._session = self._caller.open(VOLUME.sha256)
            live["session"] = self._session
        return {name: live.get(name, value) for name, value in parameters.items()}


def _ask(operation: Any, place: _Place, examples: int, found: collections.Counter[str]) -> None:
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        case.path_parameters = place.fill(case.path_parameters or {})
        answer = case.call(base_url=place.url, timeout=_TIMEOUT_S, headers={"Colipri-Protocol": "1"})
        status = str(answer.status_code)
        described = operation.definition.raw["responses"]
        allowed = described.get(status) or described.get(f"{status[0]}XX")
        fits = allowed is not None and _is_described(answer, allowed, operation.schema.raw_schema)
        found[_outcome_of(answer, status) if fits else f"fault {status} of {operation.label}"] += 1

    ask()


def _is_described(answer: Any, described: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether the body of an answer is one that the schema allows; of frames it says only that they are bytes."""
    content = described.get("content", {})
    kind = _kind(answer)
    if kind != "application/json" or answer.request.method == "HEAD":
        return kind in content or not answer.content
    schema = {**content[kind]["schema"], "components": document["components"]} if kind in content else False
    return jsonschema_rs.Draft202012Validator(schema).is_valid(answer.json())


def _outcome_of(answer: Any, status: str) -> str:
    """Status of an answer from the schema, with the code of the error that a stream ended with."""
    return status if status != "200" or _kind(answer) != FRAME_TYPE else _end_of(answer.content)


def _kind(answer: Any) -> str:
    return str(answer.headers.get("content-type", [""])[0]).partition(";")[0]


def _outcome(answer: httpx2.Response) -> str:
    """Status of an answer, with the code of the error that a stream ended with."""
    if answer.status_code != httpx2.codes.OK or answer.headers["content-type"] != FRAME_TYPE:
        return str(answer.status_code)
    return _end_of(answer.content)


def _end_of(content: bytes) -> str:
    *_, last = FrameReader().feed(content)
    if last.kind is not Kind.ERROR:
        return "200"
    code = last.body["error"]["code"]
    return "fault" if code == "server-fault" else f"200 {code}"


def _files(folder: Path) -> set[Path]:
    """Files outside the state folder and the engine's cache."""
    own = {folder / "state", folder / "cache"}
    return {path for path in folder.rglob("*") if not own & set(path.parents) | ({path} & own)}
