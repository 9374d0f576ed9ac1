"""Run the application under uvicorn until a signal, and stop in order: jobs, sessions, connections."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator

import uvicorn
from filelock import FileLock
from filelock import Timeout

from colipri_core.engine import Engine
from colipri_core.remote.server.app import create_app
from colipri_core.remote.server.service import Service
from colipri_core.remote.server.settings import ServerSettings

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LINGER_S = 5
"""Seconds that open connections get to take their last bytes, once all jobs have ended (our choice)."""
_KEEP_ALIVE_S = 75
"""Seconds an idle connection stays open: readers think between clicks, and a new one costs round trips (our choice)."""
_BACKLOG = 256


class Server(uvicorn.Server):
    """uvicorn that ends jobs before it waits for connections, and whose stop by a signal is a success.

    Args:
        engine: The model, loaded.
        settings: How it is served.
        listener: The socket it listens on; closed at the end.
        on_ready: Receives the URL once connections are taken.
    """

    def __init__(
        self, engine: Engine, settings: ServerSettings, listener: socket.socket, on_ready: Callable[[str], None]
    ) -> None:
        app = create_app(engine, settings)
        self._service: Service = app.state.service
        self._listener = listener
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
                timeout_graceful_shutdown=_LINGER_S,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"{settings.scheme}://{host}:{listener.getsockname()[1]}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped."""
        super().run(sockets=sockets or [self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, then say so."""
        await super().startup(sockets=sockets)
        self._on_ready(self.url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End jobs and save sessions first: uvicorn would wait for their streams."""
        await self._service.stop()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop in order at the first signal, at once at the second; uvicorn's own would raise it again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def serve(
    engine: Engine,
    settings: ServerSettings,
    *,
    listener: socket.socket | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve an engine until SIGINT or SIGTERM; sessions are saved then. The engine is not closed.

    Args:
        engine: The model, loaded.
        settings: How it is served.
        listener: What `reserved` gave; None reserves address and state folder now.
        on_ready: Receives the URL once connections are taken.

    Raises:
        ValueError: If the address cannot be listened on, certificate and key do not fit, or another server uses the
            state folder.
    """
    with contextlib.ExitStack() as stack:
        own = listener or stack.enter_context(reserved(settings))
        Server(engine, settings, own, on_ready or (lambda _: None)).run()


@contextlib.contextmanager
def reserved(settings: ServerSettings) -> Iterator[socket.socket]:
    """Hold the address and the state folder of a server while the body runs; yields the listening socket.

    To be held before the model is loaded, so that what cannot work fails at once.

    Args:
        settings: How it is served.

    Raises:
        ValueError: If the address cannot be listened on, certificate and key do not fit, or another server uses the
            state folder.
    """
    _check_certificate(settings)
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(settings.state / "server.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        msg = f'Another server uses the state folder "{settings.state}". Stop it, or choose another folder by --state.'
        raise ValueError(msg) from error
    with lock, _listening(settings.host, settings.port) as listener:
        yield listener


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # asyncio sends small packets at once only on sockets that say they are TCP; else each answer waits 40 ms for an
        # acknowledgement (Nagle's algorithm against delayed ACKs)
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())
    except OSError as error:
        remedy = (
            "Choose another --port, or stop what uses it."
            if error.errno == errno.EADDRINUSE
            else ("Choose another --host or --port, one this machine and user may listen on.")
        )
        msg = f"Expected to listen on {host} port {port}, but it cannot be done: {error.strerror}. {remedy}"
        raise ValueError(msg) from error


def _check_certificate(settings: ServerSettings) -> None:
    """Refuse a certificate and key that do not serve, before anything is loaded."""
    if settings.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # a file that cannot be read, is of another kind, or belongs to another certificate
        msg = (
            f'Expected a certificate chain in "{settings.tls_cert}" and its private key in "{settings.tls_key}", both '
            f"PEM, got others ({error}). Pass the two that belong together by --tls-cert and --tls-key."
        )
        raise ValueError(msg) from error
