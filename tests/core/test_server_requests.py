"""Who may ask and what may be sent: tokens, names, protocols, sizes, garbage; and what an answer never says."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trustme
from chests import chest
from scripted_engine import ScriptedEngine
from support.serving import serving
from support.wire import Caller

from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.server.answers import without_paths
from colipri_core.remote.server.settings import Limits

TOKEN = "a-secret-of-some-length"
VOLUME = chest(spacing=(12.0, 12.0, 14.0))
GARBAGE = {
    "nothing": b"",
    "text": b"not a frame",
    "zeros": b"\0" * 1000,
    "magic": b"CLPR",
    "another version": struct.pack("<4sBBIQ", b"CLPR", 9, 1, 2, 0) + b"{}",
    "another kind": frame_bytes(Kind.ERROR, {}),
    "a huge header": struct.pack("<4sBBIQ", b"CLPR", 1, 1, 2**32 - 1, 0),
    "huge arrays": struct.pack("<4sBBIQ", b"CLPR", 1, 1, 2, 2**63) + b"{}",
    "a header above the limit": struct.pack("<4sBBIQ", b"CLPR", 1, 1, (8 << 20) + 1, 0),
    "no object": struct.pack("<4sBBIQ", b"CLPR", 1, 1, 2, 0) + b"[]",
    "deep": struct.pack("<4sBBIQ", b"CLPR", 1, 1, 100_000, 0) + b"[" * 100_000,
    "an unknown edit": frame_bytes(Kind.REQUEST, {"edit": "explode", "after": 0, "values": {}}),
}
TOO_LARGE = {GARBAGE[name] for name in ("a huge header", "huge arrays", "a header above the limit")}


def refusal_of(content: bytes) -> tuple[int, str]:
    """What garbage is answered with."""
    return (413, "too-large") if content in TOO_LARGE else (400, "malformed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = tmp_path_factory.mktemp("state")
    with serving(ScriptedEngine(), state=state, token=TOKEN, limits=Limits(body_bytes=2**20)) as url:
        yield url


@pytest.fixture(scope="module")
def caller(url: str) -> Iterator[Caller]:
    with Caller(url, token=TOKEN) as caller:
        yield caller


@pytest.fixture(scope="module")
def session(caller: Caller) -> str:
    return caller.open(caller.upload(VOLUME))


@pytest.fixture(scope="module")
def open_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(ScriptedEngine(), state=tmp_path_factory.mktemp("open")) as url:
        yield url


def check_refusal(answer: httpx2.Response, status: int, code: str) -> None:
    """An error is JSON with a code, in the protocol, and nothing else."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"code", "message", "details"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["colipri-protocol"] == "1"
    assert not re.search(r"Traceback|File \"|site-packages|/tmp|\.py", answer.text)


class TestToken:
    @pytest.mark.parametrize(
        "header", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
    )
    @pytest.mark.parametrize("path", ["/v1/model", "/metrics"])
    def test_a_request_without_the_token_is_refused(self, path: str, header: str | None, url: str) -> None:
        headers = {"Colipri-Protocol": "1"} | ({} if header is None else {"Authorization": header})
        answer = httpx2.get(url + path, headers=headers)

        check_refusal(answer, 401, "bad-token")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text

    def test_the_token_opens(self, caller: Caller) -> None:
        assert caller.http.get("/v1/model").status_code == 200

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_health_is_open_to_all(self, path: str, url: str) -> None:
        assert httpx2.get(url + path).status_code == 200


class TestNames:
    """A web page whose name was made to lead to this machine must not reach a server without a token."""

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "192.168.1.7:80"])
    def test_other_names_are_refused_without_a_token(self, host: str, open_url: str) -> None:
        headers = {"Host": host, "Colipri-Protocol": "1"}
        check_refusal(httpx2.get(open_url + "/v1/model", headers=headers), 401, "bad-token")

    @pytest.mark.parametrize("host", ["localhost", "localhost:8765", "127.0.0.1", "[::1]:8765"])
    def test_names_of_this_machine_are_served(self, host: str, open_url: str) -> None:
        headers = {"Host": host, "Colipri-Protocol": "1"}
        assert httpx2.get(open_url + "/v1/model", headers=headers).status_code == 200

    def test_pages_of_other_origins_may_not_read(self, open_url: str) -> None:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = httpx2.request("OPTIONS", open_url + "/v1/model", headers=headers | {"Colipri-Protocol": "1"})

        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_certificate_makes_it_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    with serving(ScriptedEngine(), state=tmp_path / "state", tls_cert=chain, tls_key=key) as url:
        assert url.startswith("https://127.0.0.1:")
        assert httpx2.get(f"{url}/healthz", verify=trusting).json()["status"] == "ok"
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{url.replace('https', 'http')}/healthz")


class TestProtocol:
    @pytest.mark.parametrize("version", [None, "0", "2", "1.0", "x" * 5000])
    def test_another_protocol_is_refused(self, version: str | None, url: str) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({} if version is None else {"Colipri-Protocol": version})
        answer = httpx2.get(url + "/v1/model", headers=headers)

        check_refusal(answer, 426, "protocol-mismatch")
        assert len(answer.text) < 500

    def test_health_tells_the_protocol(self, url: str) -> None:
        document = httpx2.get(url + "/healthz").json()

        assert (document["status"], document["protocol"], document["oldest_protocol"]) == ("ok", 1, 1)


class TestBodies:
    @pytest.mark.parametrize("path", ["classify", "evidence", "segment", "prompt", "undo", "redo", "report", "check"])
    @pytest.mark.parametrize("content", [b"{", b"[]", b'{"unknown": 1}', b'{"after": NaN}', b"\xff\xfe", b"[" * 10**5])
    def test_json_that_is_something_else_is_refused(
        self, path: str, content: bytes, caller: Caller, session: str
    ) -> None:
        answer = caller.http.post(f"/v1/sessions/{session}/{path}", content=content)

        check_refusal(answer, 400, "malformed")

    @pytest.mark.parametrize("path", ["edit", "embedding", "similar"])
    @pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
    def test_garbage_is_refused(self, path: str, content: bytes, caller: Caller, session: str) -> None:
        answer = caller.http.post(f"/v1/sessions/{session}/{path}", content=content)

        check_refusal(answer, *refusal_of(content))

    @pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
    def test_garbage_opens_no_session_and_is_no_volume(self, content: bytes, caller: Caller) -> None:
        check_refusal(caller.http.post("/v1/sessions", content=content), *refusal_of(content))
        check_refusal(caller.http.put(f"/v1/volumes/{'0' * 64}", content=content), *refusal_of(content))

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_that_is_too_long_is_refused(self, chunked: bool, caller: Caller, session: str) -> None:
        content = b"x" * (2**20 + 1)
        answer = caller.http.post(f"/v1/sessions/{session}/edit", content=iter([content]) if chunked else content)

        check_refusal(answer, 413, "too-large")

    def test_an_announced_length_is_not_waited_for(self, url: str, session: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        lines = [
            f"POST /v1/sessions/{session}/edit HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Bearer {TOKEN}",
            "Colipri-Protocol: 1",
            f"Content-Length: {10**15}",
        ]
        with socket.create_connection((host, int(port)), timeout=20) as peer:
            peer.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            assert peer.recv(100).startswith(b"HTTP/1.1 413")

    def test_a_body_that_breaks_off_leaves_the_server_well(self, url: str, caller: Caller, session: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        head = f"PUT /v1/volumes/{'0' * 64} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        with socket.create_connection((host, int(port)), timeout=20) as peer:
            peer.sendall((head + "Colipri-Protocol: 1\r\nContent-Length: 1000\r\n\r\nCLPR").encode())

        assert caller.ask(session, "classify")[-1].kind is Kind.RESULT

    def test_after_all_that_the_session_stands_as_it_was(self, caller: Caller, session: str) -> None:
        state = caller.state(session)

        assert (state["revision"], state["state"]["objects"]) == (0, [])


class TestRoutes:
    @pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/../healthz/x", "/docs", "/v1/model/", "//v1/model"])
    def test_what_is_not_there_is_not_found(self, path: str, caller: Caller) -> None:
        check_refusal(caller.http.get(path), 404, "not-found")

    def test_another_method_is_refused(self, caller: Caller) -> None:
        answer = caller.http.delete("/v1/model")

        assert answer.status_code == 405
        assert answer.json()["error"]["code"] == "not-found"

    def test_an_unknown_store_is_not_found(self, caller: Caller, session: str) -> None:
        body = frame_bytes(Kind.REQUEST, {"store": "lab", "k": 5, "where": None, "region": None})
        check_refusal(caller.http.post(f"/v1/sessions/{session}/similar", content=body), 404, "not-found")
        check_refusal(caller.http.post("/v1/stores/lab/search", content=body), 404, "not-found")

    def test_metrics_name_routes_by_their_template(self, caller: Caller, session: str) -> None:
        name = str(uuid.uuid4())
        caller.http.get(f"/v1/sessions/{name}")
        caller.http.get(f"/v1/secret/{name}")
        text = caller.http.get("/metrics").text

        assert 'route="/v1/sessions/{session}"' in text
        assert 'route="unmatched"' in text
        assert name not in text
        assert session not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('Cannot read "/data/archive/Miller/ct.nii.gz": expected', 'Cannot read "ct.nii.gz": expected'),
        ("in /var/lib/colipri now", "in colipri now"),
        (r"at D:\Scans\Miller\scan.nii", "at scan.nii"),
        ("a ratio of 3/4, and/or 1/2", "a ratio of 3/4, and/or 1/2"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
    ],
)
def test_paths_of_the_host_are_cut_from_messages(text: str, shown: str) -> None:
    assert without_paths(text) == shown


def test_the_schema_is_served(caller: Caller) -> None:
    document = json.loads(caller.http.get("/openapi.json").text)

    assert document["openapi"].startswith("3.1")
    assert "/v1/sessions/{session}/prompt" in document["paths"]
