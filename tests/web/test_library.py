"""The viewer library: pinned, verified, fetched once, and found without a network."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from colipri_core.errors import Cancelled
from colipri_core.errors import MissingDependencyError
from colipri_core.progress import CancelToken
from colipri_core.progress import Reporter
from colipri_core.remote.web import library
from colipri_core.remote.web.library import NIIVUE
from colipri_core.remote.web.library import NpmPackage
from colipri_core.remote.web.library import library_module
from colipri_core.remote.web.library import registry_address

MODULE = b"export const answer = 42;\n"


def tarball(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/dist/index.js")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


class Registry(http.server.ThreadingHTTPServer):
    """Stands for npm's registry: gives one tarball."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Registry)
        self.server.asked.append(self.path)
        found = self.path == "/@colipri/drawing/-/drawing-1.2.3.tgz"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(self.server.content) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def content() -> bytes:
    return tarball(MODULE)


@pytest.fixture
def package(content: bytes) -> NpmPackage:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    return NpmPackage(name="@colipri/drawing", version="1.2.3", integrity=integrity, module="package/dist/index.js")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COLIPRI_WEB_LIBRARY", raising=False)
    monkeypatch.setattr(library, "_cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def registry(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    server = Registry(content)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("npm_config_registry", server.address)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_is_fetched_once_and_then_needs_no_network(registry: Registry, package: NpmPackage):
    told = []
    assert library_module(package, report=Reporter(lambda share, message: told.append((share, message)))) == MODULE
    assert told[-1][0] == 1.0
    assert "drawing-1.2.3.tgz" in told[-1][1]
    assert library_module(package) == MODULE
    assert registry.asked == ["/@colipri/drawing/-/drawing-1.2.3.tgz"]


def test_another_tarball_than_the_pinned_one_is_refused_and_not_kept(
    registry: Registry, package: NpmPackage, cache: Path
):
    registry.content = tarball(b"export const answer = 666;\n")
    with pytest.raises(MissingDependencyError, match=r"Expected drawing-1\.2\.3\.tgz with sha512-.*found sha512-"):
        library_module(package)
    assert not list(cache.glob("*"))


def test_a_damaged_copy_is_fetched_anew(registry: Registry, package: NpmPackage, cache: Path):
    library_module(package)
    (cache / package.tarball).write_bytes(b"damaged")
    assert library_module(package) == MODULE
    assert len(registry.asked) == 2


def test_without_a_network_the_message_says_how_to_bring_it(package: NpmPackage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    with pytest.raises(MissingDependencyError, match=r"npm pack @colipri/drawing@1\.2\.3.*COLIPRI_WEB_LIBRARY"):
        library_module(package)


def test_a_registry_without_the_package_is_said(registry: Registry, package: NpmPackage):
    with pytest.raises(MissingDependencyError, match="404"):
        library_module(dataclasses.replace(package, version="9.9.9"))


def test_a_named_folder_or_file_is_used_instead(
    content: bytes, package: NpmPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / package.tarball).write_bytes(content)
    as_npm_packs_it = tmp_path / "elsewhere" / "colipri-drawing-1.2.3.tgz"
    as_npm_packs_it.parent.mkdir()
    as_npm_packs_it.write_bytes(content)
    for place in (tmp_path, tmp_path / package.tarball, as_npm_packs_it.parent):
        monkeypatch.setenv("COLIPRI_WEB_LIBRARY", str(place))
        assert library_module(package) == MODULE
    (tmp_path / package.tarball).write_bytes(content[:-10])
    monkeypatch.setenv("COLIPRI_WEB_LIBRARY", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="fetch it anew"):
        library_module(package)
    monkeypatch.setenv("COLIPRI_WEB_LIBRARY", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDependencyError, match="found none"):
        library_module(package)


def test_fetching_can_be_cancelled(registry: Registry, package: NpmPackage, cache: Path):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        library_module(package, report=Reporter(cancel=cancel))
    assert not list(cache.glob("*"))


def test_a_cache_that_cannot_be_written_costs_the_copy_alone(registry: Registry, package: NpmPackage, cache: Path):
    cache.write_text("a file where the folder should be")
    assert library_module(package) == MODULE


def test_npms_own_configuration_names_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG"):
        monkeypatch.delenv(name, raising=False)
    settings = tmp_path / "npmrc"
    monkeypatch.setenv("npm_config_userconfig", str(settings))
    assert registry_address() == "https://registry.npmjs.org"
    settings.write_text("fund=false\nregistry = 'https://npm.example.org/mirror/'\n")
    assert registry_address() == "https://npm.example.org/mirror/"
    assert NIIVUE.address(registry_address()).startswith("https://npm.example.org/mirror/@niivue/niivue/-/niivue-")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://other.example.org")
    assert registry_address() == "https://other.example.org"


def test_the_pinned_hash_is_a_sha512():
    kind, _, digest = NIIVUE.integrity.partition("-")
    assert kind == "sha512"
    assert len(base64.b64decode(digest, validate=True)) == 64
