"""A local server that speaks the hub's file protocol: resolve addresses, redirects to a content network, ranges."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from dataclasses import field
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = 4096


@dataclass
class FakeHub:
    """What the server holds and how it misbehaves.

    Attributes:
        repositories: Repository id -> file name -> content, all at commit `COMMIT`.
        drops: Bytes after which to cut each of the next downloads of a large file.
        damage: Flip the last byte of every large file sent.
        ignore_range: Send whole files, whatever was asked.
        log: Method, path and Range of every request.
    """

    repositories: dict[str, dict[str, bytes]]
    drops: list[int] = field(default_factory=list)
    damage: bool = False
    ignore_range: bool = False
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    endpoint: str = ""
    _server: ThreadingHTTPServer | None = None

    def start(self) -> FakeHub:
        hub = self

        class Handler(_Handler):
            def setup(self) -> None:
                self.hub = hub
                super().setup()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def ranges(self, name: str) -> list[str | None]:
        """Range headers of the downloads of a file."""
        return [asked for method, path, asked in self.log if method == "GET" and path.endswith(name)]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Keep test output quiet."""

    def _answer(self, *, body: bool) -> None:
        self.hub.log.append((self.command, self.path, self.headers["Range"]))
        if self.path.startswith("/cdn/"):
            owner, name, file = self.path.removeprefix("/cdn/").split("/")
            self._send(self.hub.repositories[f"{owner}/{name}"][file], body=body, large=True)
            return
        owner, name, _, revision, file = self.path.lstrip("/").split("/")
        files = self.hub.repositories.get(f"{owner}/{name}")
        if files is None or revision not in ("main", COMMIT, "5157bdba1437a3aed316dacb1a5b68edf96b9902"):
            self._refuse("RepoNotFound" if files is None else "RevisionNotFound")
        elif file not in files:
            self._refuse("EntryNotFound")
        elif len(files[file]) >= _LARGE:
            self._redirect(f"{owner}/{name}/{file}", files[file])
        else:
            self._send(files[file], body=body, large=False)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redirect(self, path: str, content: bytes) -> None:
        """Large files lie on another host, under a signed address in reality."""
        self.send_response(302)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Location", f"{self.hub.endpoint.replace('127.0.0.1', 'localhost')}/cdn/{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, *, body: bool, large: bool) -> None:
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and not self.hub.ignore_range else 0
        self.send_response(206 if asked and not self.hub.ignore_range else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        git = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        self.send_header("ETag", f'"{git}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not body:
            return
        if large and self.hub.damage:
            content = content[:-1] + bytes([content[-1] ^ 1])
        rest = content[start:]
        if large and self.hub.drops:
            self.wfile.write(rest[: self.hub.drops.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(rest)
