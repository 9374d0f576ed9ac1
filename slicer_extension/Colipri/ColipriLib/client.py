"""The one connection to a model: opens engine and session, remembers them, and says what to do when they are lost.

To be used on the worker thread, but for `address`, `info` and `lost`. The session itself reconnects to a server that
came back and seeds it anew; so after an error both are kept, and the next call tries again.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

from colipri_core.cases import CaseSearch
from colipri_core.engine import Capabilities
from colipri_core.engine import Engine
from colipri_core.engine import is_server
from colipri_core.engine import open_engine
from colipri_core.errors import ColipriError
from colipri_core.errors import ModelUnavailableError
from colipri_core.errors import NotFoundError
from colipri_core.errors import ServerUnreachableError
from colipri_core.index.store import open_store
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard
from colipri_core.session import Session
from colipri_core.volume import Volume

_CONNECTING_SHARE = 0.2
"""Part of the progress that connecting takes, where it is needed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is shown of a connected model.

    Args:
        address: Where it runs.
        card: Its identity.
        capabilities: What it can do.
        device: Device it runs on, there.
        stores: Names of the case stores that can be searched.
    """

    address: str
    card: ModelCard
    capabilities: Capabilities
    device: str
    stores: tuple[str, ...] = ()


Opener = Callable[[str, str, ProgressCallback | None, CancelToken | None], Engine]
"""Opens an engine of an address and a token."""


def open_remote(
    address: str, token: str, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> Engine:
    """Open an engine: of a server, or for scripts whatever `open_engine` takes.

    Args:
        address: URL of a server, or name of a model.
        token: The server's secret; empty for none, or that of the environment.
        progress: Receives (fraction, message).
        cancel: Cancels opening.

    Raises:
        ModelUnavailableError: If the server cannot be reached or used.
    """
    if is_server(address):
        from colipri_core.remote.client import RemoteEngine

        return RemoteEngine(address, token=token or None)
    return open_engine(address, progress=progress, cancel=cancel)


class Client:
    """Holds at most one engine and one session in it.

    Args:
        edits_folder: Where edits are saved as they are made; None leaves that to the server.
        opener: Opens engines.
    """

    def __init__(self, *, edits_folder: Path | None = None, opener: Opener = open_remote) -> None:
        self.address = ""
        self.token = ""
        self.info: ModelInfo | None = None
        self.lost = ""
        self._edits_folder = edits_folder
        self._open = opener
        self._engine: Engine | None = None
        self._opened: tuple[str, str] = ("", "")
        self._session: Session | None = None
        self._volume: Volume | None = None

    def connect(self, progress: ProgressCallback | None = None, cancel: CancelToken | None = None) -> Engine:
        """Return the engine of the chosen address, opened if it is not.

        Args:
            progress: Receives (fraction, message).
            cancel: Cancels connecting.

        Raises:
            ModelUnavailableError: If there is none, or it cannot be reached.
        """
        wanted = (self.address, self.token)
        if self._engine is None or self._opened != wanted:
            self.close()
            if not self.address:
                msg = "Expected the address of a server, found none. Start a local one, or enter the address of yours."
                raise ModelUnavailableError(msg)
            self._engine = self._open(self.address, self.token, progress, cancel)
            self._opened = wanted
            self.info = _info(self.address, self._engine)
        return self._engine

    def test(self, progress: ProgressCallback, cancel: CancelToken) -> str:
        """Connect, and return in words what was found; for *Test connection*.

        Args:
            progress: Receives (fraction, message).
            cancel: Cancels connecting.

        Raises:
            ModelUnavailableError: If there is no server, or it cannot be used.
        """
        engine = self.connect(progress, cancel)
        if not is_server(self.address):
            return f"{engine.card.name} runs in this process"
        from colipri_core.remote.client import check_connection

        report = check_connection(self.address, self.token or None)
        if not report.ok:
            kind = ServerUnreachableError if report.code == ServerUnreachableError.code else ModelUnavailableError
            raise kind(report.words)
        return report.words

    def session(
        self, volume: Volume, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> tuple[Session, Reporter]:
        """Return the session of a volume, opened if it is not; edits saved earlier are taken up.

        Args:
            volume: The volume; the same object for the same session.
            progress: Receives (fraction, message).
            cancel: Cancels connecting.

        Returns:
            The session, and the reporter for what is asked of it.
        """
        reporter = Reporter(progress, cancel)
        share = 0.0 if self._engine is not None and self._opened == (self.address, self.token) else _CONNECTING_SHARE
        engine = self.connect(reporter.part(0.0, share), cancel)
        if self._session is None or self._volume is not volume:
            self.close_session()
            self._session, self._volume = engine.open(volume, autosave=self._edits_folder), volume
        return self._session, reporter.part(share, 1.0)

    def store(self, name: str) -> CaseSearch:
        """Return a case store: one of the server's, or for engines in this process one by its address.

        Args:
            name: Its name at the server, or its address.

        Raises:
            StoreError: If it cannot be used.
        """
        engine = self.connect()
        find = getattr(engine, "store", None)
        return open_store(name) if find is None else find(name)

    def read(self, path: str, progress: ProgressCallback, cancel: CancelToken) -> Volume:
        """Read a scan that lies at the server.

        Args:
            path: Relative to the server's folder, as the path of a match in one of its stores is.
            progress: Receives (fraction, message).
            cancel: Cancels connecting and fetching.

        Raises:
            UnreadableInputError: If nothing that can be read lies there.
            NotFoundError: If there is no server that opens paths.
        """
        reporter = Reporter(progress, cancel)
        engine = self.connect(reporter.part(0.0, _CONNECTING_SHARE), cancel)
        read: Callable[..., Volume] | None = getattr(engine, "read", None)
        if read is None:
            msg = "Expected a server that holds the scan, found a model in this process."
            raise NotFoundError(msg)
        return read(path, progress=reporter.part(_CONNECTING_SHARE, 1.0), cancel=cancel)

    def note(self, error: Exception | None) -> None:
        """Take note of how the last call went.

        Args:
            error: What it raised; None if it succeeded.
        """
        if error is None:
            self.lost = ""
        elif isinstance(error, ServerUnreachableError):
            self.lost = str(error)

    def close_session(self) -> None:
        """Close the session; the engine stays."""
        session, self._session, self._volume = self._session, None, None
        if session is not None:
            session.close()

    def release(self) -> None:
        """Close the session; nothing is said of a server that is gone, which has closed it already."""
        with contextlib.suppress(ColipriError):
            self.close_session()

    def close(self) -> None:
        """Close session and engine."""
        self.release()
        engine, self._engine, self._opened, self.info = self._engine, None, ("", ""), None
        if engine is not None:
            engine.close()


def _info(address: str, engine: Engine) -> ModelInfo:
    return ModelInfo(
        address=address,
        card=engine.card,
        capabilities=engine.capabilities,
        device=engine.device,
        stores=tuple(getattr(engine, "stores", ())),
    )
