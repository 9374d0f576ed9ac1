"""HTTP as the client uses it: headers of every request, time-outs by phase, and errors that name the remedy."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import httpx2

from colipri_core.errors import ColipriError
from colipri_core.errors import ProtocolMismatchError
from colipri_core.errors import ServerTimeoutError
from colipri_core.errors import ServerTokenError
from colipri_core.errors import ServerUnreachableError
from colipri_core.errors import SessionClosedError
from colipri_core.remote.client.timeouts import Timeouts
from colipri_core.remote.protocol.errors import error_from_body
from colipri_core.remote.protocol.frames import decode_json
from colipri_core.remote.protocol.limits import Limits
from colipri_core.remote.protocol.version import FRAME_TYPE
from colipri_core.remote.protocol.version import JOB_HEADER
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.protocol.version import PROTOCOL_HEADER
from colipri_core.remote.protocol.version import PROTOCOL_VERSION
from colipri_core.remote.protocol.version import SERVER_HEADER
from colipri_core.remote.protocol.version import TOKEN_VARIABLE

Body = bytes | Iterable[bytes] | Mapping[str, Any] | None
"""Bytes travel as frames, a mapping as JSON."""

CLOSED = "The engine was closed. Open it again with open_engine()."

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_JSON_LIMITS = Limits(header_bytes=256 << 20)


class Transport:
    """Requests to one server. Any thread may use it.

    Args:
        url: Address of the server, such as "http://gpu-host:8765".
        token: Its token; None for that in COLIPRI_SERVER_TOKEN.
        timeouts: How long to wait.

    Attributes:
        answering: Name of the server process that answered last; another one may have taken its place.

    Raises:
        ValueError: If the URL is none of a server, or SSL_CERT_FILE or SSL_CERT_DIR name nothing that can be read.
    """

    def __init__(self, url: str, *, token: str | None = None, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self.url = _checked(url)
        self._calling: Counter[int] = Counter()
        self._ended = threading.Condition()
        self._closed = False
        self.answering = ""
        token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
        headers = {PROTOCOL_HEADER: str(PROTOCOL_VERSION), "Accept-Encoding": "identity"}
        if token:
            headers["Authorization"] = f"Bearer {token.strip()}"
        self._client = httpx2.Client(
            base_url=str(self.url),
            headers=headers,
            timeout=self._timeout(timeouts.read),
            verify=_authorities() if self.url.scheme == "https" else True,
            trust_env=self.url.host not in _LOOPBACK,  # a proxy for the world is none for this machine
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=60.0),
        )

    @property
    def host(self) -> str:
        """Host and port, for people."""
        return self.url.netloc.decode("ascii")

    def json(self, method: str, path: str, body: Body = None) -> dict[str, Any]:
        """Make a short request and return the JSON object it is answered with; an empty answer is an empty one.

        Args:
            method: "GET", "POST", "PUT" or "DELETE".
            path: Path below the server's address.
            body: What is sent.

        Raises:
            ColipriError: If there is no answer, or the server refuses; ValueError and TypeError likewise.
        """
        with self.stream(method, path, body, silence=self.timeouts.read) as response, self.translating():
            content = response.read()
        return decode_json(content, _JSON_LIMITS) if content else {}

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str, body: Body = None, *, silence: float, job: str = ""
    ) -> Iterator[httpx2.Response]:
        """Make a request whose answer is read as it comes.

        Args:
            method: The method.
            path: Path below the server's address.
            body: What is sent.
            silence: Seconds to wait for the next piece.
            job: Name of the call, by which it can be cancelled.

        Raises:
            ColipriError: If there is no answer, or the server refuses; ValueError and TypeError likewise.
        """
        headers = {JOB_HEADER: job} if job else {}
        content: Any = body
        if isinstance(body, Mapping):
            content = json.dumps(dict(body), allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        elif body is not None:
            headers["Content-Type"] = FRAME_TYPE
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._counted())
            with self.translating():
                request = self._client.stream(
                    method, path, content=content, headers=headers, timeout=self._timeout(silence)
                )
                response = stack.enter_context(request)
            self._check(response, path)
            yield response

    def close(self) -> None:
        """Close all connections, once the calls of other threads have ended or had time to."""
        own = {threading.get_ident()}
        with self._ended:
            self._closed = True
            self._ended.wait_for(lambda: not self._calling.keys() - own, timeout=self.timeouts.cancel)
        self._client.close()

    @contextlib.contextmanager
    def translating(self) -> Iterator[None]:
        """Raise what goes wrong on the way as an error of this package."""
        try:
            yield
        except httpx2.TimeoutException as error:
            raise ServerTimeoutError(_timed_out(error, self.host, self.timeouts)) from error
        except httpx2.ConnectError as error:
            raise ServerUnreachableError(_not_reached(error, self.host)) from error
        except (httpx2.TransportError, httpx2.StreamError, OSError) as error:
            msg = (
                f"The connection to {self.host} broke in the middle of a call ({error or type(error).__name__}). "
                "Check that the server still runs, then try again."
            )
            raise ServerUnreachableError(msg) from error

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        own = threading.get_ident()
        with self._ended:
            if self._closed:
                raise SessionClosedError(CLOSED)
            self._calling[own] += 1
        try:
            yield
        finally:
            with self._ended:
                self._calling[own] -= 1
                self._calling = +self._calling
                self._ended.notify_all()

    def _check(self, response: httpx2.Response, path: str) -> None:
        """Refuse an answer that is no success, or not of this protocol."""
        spoken = response.headers.get(PROTOCOL_HEADER)
        self.answering = response.headers.get(SERVER_HEADER, "")
        if response.is_success and (not path.startswith(PREFIX) or spoken == str(PROTOCOL_VERSION)):
            return
        with self.translating():
            content = response.read() if not response.is_success else b""
        try:
            document = decode_json(content)
        except ColipriError:
            document = {}
        if "error" in document:
            raise _with_remedy(error_from_body(document), self.host)
        if response.status_code == 401:
            raise _with_remedy(ServerTokenError(""), self.host)
        found = f"version {spoken[:20]}" if spoken else f"an answer of another kind (HTTP {response.status_code})"
        msg = (
            f"Expected a COLIPRI server that speaks version {PROTOCOL_VERSION} of the protocol at {self.host}, "
            f"found {found}. Check the URL; if it is right, install the same version of napari-colipri at both ends."
        )
        raise ProtocolMismatchError(msg)

    def _timeout(self, read: float) -> httpx2.Timeout:
        return httpx2.Timeout(connect=self.timeouts.connect, write=self.timeouts.write, read=read, pool=None)


def _checked(url: str) -> httpx2.URL:
    try:
        address = httpx2.URL(url.strip().rstrip("/"))
    except (httpx2.InvalidURL, TypeError) as error:
        address = httpx2.URL("")
        reason = str(error)
    else:
        reason = ""
    if address.scheme not in {"http", "https"} or not address.host or address.query or address.fragment:
        msg = (
            f'Expected the address of a server, such as "http://gpu-host:8765", got "{url}"'
            f"{f' ({reason})' if reason else ''}. It needs http:// or https:// and a host."
        )
        raise ValueError(msg)
    return address


def _authorities() -> ssl.SSLContext | bool:
    """Whose certificates are taken: of those in SSL_CERT_FILE or SSL_CERT_DIR, else of the system's (True)."""
    file, folder = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    if file is None and folder is None:
        return True
    try:
        return ssl.create_default_context(cafile=file, capath=None if file else folder)
    except OSError as error:  # a file of something else as well
        msg = (
            f'Expected certificates in SSL_CERT_FILE or SSL_CERT_DIR, found none in "{file or folder}" ({error}). '
            "Let them name your authority's certificates, or unset them."
        )
        raise ValueError(msg) from error


def _with_remedy(error: Exception, host: str) -> Exception:
    if isinstance(error, ServerTokenError):
        msg = (
            f"The server at {host} wants a token, or another one than was sent. Ask whoever runs it, then give it in "
            f"the Model panel or in the environment variable {TOKEN_VARIABLE}."
        )
        return ServerTokenError(msg)
    return error


def _timed_out(error: httpx2.TimeoutException, host: str, timeouts: Timeouts) -> str:
    if isinstance(error, httpx2.ConnectTimeout):
        return (
            f"The server at {host} took no connection within {timeouts.connect:g} s. "
            "Check the address, and that no firewall stands between."
        )
    if isinstance(error, httpx2.WriteTimeout):
        return (
            f"The server at {host} took nothing of what was sent for {timeouts.write:g} s. "
            "Check the network; on a slow one, wait longer: Timeouts(write=...)."
        )
    return (
        f"The server at {host} said nothing for too long (short answers {timeouts.read:g} s, long calls "
        f"{timeouts.silence:g} s). It may be overloaded: try again later, or wait longer: Timeouts(silence=...)."
    )


def _not_reached(error: httpx2.ConnectError, host: str) -> str:
    reason = str(error)
    if "certificate" in reason.lower():
        return (
            f"The certificate of {host} was not accepted ({reason}). "
            "Let SSL_CERT_FILE name the file of your own authority, or correct the host in the URL."
        )
    return (
        f"No server answers at {host} ({reason}). Start one there with `colipri serve`, "
        "or check the host, the port and the network."
    )
