"""What a server refuses before it starts, and its command."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from colipri_core.cli.main import main
from colipri_core.remote.server.settings import Limits
from colipri_core.remote.server.settings import ServerSettings
from colipri_core.remote.server.settings import is_loopback

TOKEN = "a-secret-of-some-length"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_a_loopback_address_needs_no_token(host: str, tmp_path: Path) -> None:
    assert ServerSettings(state=tmp_path, host=host).is_loopback
    assert ServerSettings(state=tmp_path, host=host, token="short").token == "short"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu.example.org", "127.0.0.1.evil.example", ""])
def test_another_address_needs_a_token(host: str, tmp_path: Path) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="COLIPRI_SERVER_TOKEN"):
        ServerSettings(state=tmp_path, host=host)
    assert ServerSettings(state=tmp_path, host=host, token=TOKEN).token == TOKEN


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "short", "host": "0.0.0.0"},
        {"token": "a secret of some length"},
        {"token": "a-secret-of-s\u00f6me-length"},
        {"port": 70_000},
        {"port": -1},
        {"tls_cert": Path("only.pem")},
        {"root": Path("nowhere")},
        {"stores": {"../up": "/x"}},
    ],
)
def test_what_cannot_be_used_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected"):
        ServerSettings(state=tmp_path, **wrong)


@pytest.mark.parametrize("wrong", [{"sessions": 0}, {"lease_s": -1}, {"memory_bytes": 0}, {"lease_s": float("nan")}])
def test_limits_are_above_zero(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Limits(**wrong)


def test_the_token_is_in_no_text_of_the_settings(tmp_path: Path) -> None:
    assert TOKEN not in repr(ServerSettings(state=tmp_path, token=TOKEN))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "COLIPRI_SERVER_TOKEN"),
        (["--store", "lab"], "NAME=ADDRESS"),
        (["--store", "lab=a", "--store", "lab=b"], "each name once"),
        (["--tls-key", "key.pem"], "--tls-cert"),
        (["--max-sessions", "0"], "above zero"),
        (["--model", "http://127.0.0.1:8765"], "a model that runs on this machine"),
    ],
)
def test_the_command_says_what_is_wrong_and_exits_with_2(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["serve", "--json", "--state", str(tmp_path), *arguments])

    document = json.loads(capsys.readouterr().out)
    assert (status, document["error"]["code"]) == (2, "usage")
    assert words in document["error"]["message"]


def test_a_store_that_is_not_there_is_unfit_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["serve", "--state", str(tmp_path / "s"), "--port", "0", "--store", f"lab={tmp_path / 'none'}"])

    assert status == 3
    assert "none" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    assert main(["serve", "--state", str(tmp_path / "s"), "--port", "0", "--model", str(tmp_path / "none")]) == 4


def refused_before_loading(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of what it refuses; the model it names does not exist, so that loading would fail."""
    status = main(["serve", "--json", "--model", "no-such-model", *arguments])
    error = json.loads(capsys.readouterr().out)["error"]
    assert (status, error["code"]) == (2, "usage")
    assert "Check the path" not in error["message"]
    return str(error["message"])


def test_a_port_in_use_is_said_before_the_model_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused_before_loading(["--state", str(tmp_path), "--port", str(port)], capsys)
    assert str(port) in said
    assert "Choose another --port" in said


def test_a_certificate_of_another_key_is_said_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    chain, key, text = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "text.pem"
    authority.issue_cert("127.0.0.1").cert_chain_pems[0].write_to_path(chain)
    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(key)
    text.write_text("no certificate", encoding="utf-8")
    for first in (chain, text):
        pair = ["--tls-cert", str(first), "--tls-key", str(key)]
        said = refused_before_loading(["--state", str(tmp_path / "s"), "--port", "0", *pair], capsys)
        assert "the two that belong together" in said
