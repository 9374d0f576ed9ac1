"""The client over TLS: an authority of one's own is taken on every address, this machine's included."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from scripted_engine import ScriptedEngine
from support.serving import serving

from colipri_core.errors import ServerUnreachableError
from colipri_core.remote.client import RemoteEngine
from colipri_core.remote.client import check_connection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """A server over TLS on a loopback address, and the file of the authority behind its certificate."""

    url: str
    authority: Path


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    chain, key, file = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "authority.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(file)
    with serving(ScriptedEngine(), state=tmp_path / "state", tls_cert=chain, tls_key=key) as url:
        yield Served(url=url, authority=file)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_authority_of_ones_own_is_taken_past_every_proxy(
    served: Served, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(served.authority))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with RemoteEngine(served.url.replace("127.0.0.1", host)) as engine:
        assert engine.card.name


def test_an_authority_nobody_named_is_refused_with_the_remedy(served: Served) -> None:
    with pytest.raises(ServerUnreachableError, match="SSL_CERT_FILE"):
        RemoteEngine(served.url)


def test_a_file_that_holds_no_authority_is_named(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path / "none.pem", Path(__file__)):
        monkeypatch.setenv("SSL_CERT_FILE", str(place))
        report = check_connection(served.url)
        assert not report.ok
        assert place.name in report.words
