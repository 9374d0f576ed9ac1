"""A model behind a URL: the same API as one in this process, without torch."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from colipri_core.cases import Embedding
from colipri_core.engine import Capabilities
from colipri_core.errors import NotFoundError
from colipri_core.io.checks import check_shape
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.provenance import ModelCard
from colipri_core.remote.client.calls import Control
from colipri_core.remote.client.calls import long_call
from colipri_core.remote.client.heart import Heart
from colipri_core.remote.client.reading import read_there
from colipri_core.remote.client.server import Server
from colipri_core.remote.client.server import about_of
from colipri_core.remote.client.session import RemoteSession
from colipri_core.remote.client.store import RemoteStore
from colipri_core.remote.client.timeouts import Timeouts
from colipri_core.remote.client.transport import Transport
from colipri_core.remote.client.upload import check_size
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import TextsRequest
from colipri_core.remote.protocol.results import embeddings_from
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.volume import Volume


class RemoteEngine:
    """Implements `colipri_core.engine.Engine` over HTTP. Any thread may call it.

    Args:
        url: Address of a `colipri serve`, such as "http://gpu-host:8765".
        token: Its token; None for that in COLIPRI_SERVER_TOKEN.
        timeouts: How long to wait for what.
        notify: Told in words, from any thread, when a connection was lost and when it is there again.

    Raises:
        ServerUnreachableError: If no server answers.
        ServerTokenError: If it wants another token.
        ProtocolMismatchError: If it speaks another version of the protocol, or is no such server.
        ValueError: If the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeouts: Timeouts | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        transport = Transport(url, token=token, timeouts=timeouts or Timeouts())
        try:
            about = about_of(transport)
        except BaseException:
            transport.close()
            raise
        self._server = Server(transport=transport, about=about, notify=notify or _quiet)
        self._heart = Heart()

    @property
    def card(self) -> ModelCard:
        """Identity of the model, to be shown beside every number; read again after each reconnection."""
        return self._server.about.card

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return self._server.about.capabilities

    @property
    def device(self) -> str:
        """Device the model runs on, such as "cuda:0", at the server."""
        return self._server.about.device

    @property
    def versions(self) -> dict[str, str]:
        """Package name -> version of what runs the model, at the server."""
        return dict(self._server.about.versions)

    @property
    def stores(self) -> tuple[str, ...]:
        """Names of the server's case stores."""
        return self._server.about.stores

    def store(self, name: str) -> RemoteStore:
        """Return a case store of the server.

        Args:
            name: Its name.

        Raises:
            NotFoundError: If there is none of this name; the message lists those there are.
        """
        if name not in self.stores:
            msg = f'Expected one of the case stores {", ".join(self.stores) or "(none)"}, got "{name}".'
            raise NotFoundError(msg)
        return RemoteStore(self._server, name)

    def read(self, path: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None) -> Volume:
        """Read a volume that lies at the server, such as the scan of a match in one of its case stores.

        Args:
            path: Relative to the server's `--root`, with forward slashes, as `Match.path` is.
            progress: Receives (fraction, message).
            cancel: Cancels fetching.

        Raises:
            Cancelled: If the cancel token is set.
            UnreadableInputError: If the path is empty, or nothing that can be read lies there.
            NotFoundError: If the server opens no paths.
        """
        self._server.check_open()
        return read_there(self._server.transport, path, progress, cancel)

    def open(self, volume: Volume, *, autosave: Path | None = None) -> RemoteSession:
        """Open a volume; it is sent with the first question, unless the server holds it already.

        Args:
            volume: The CT.
            autosave: See `colipri_core.engine.Engine.open`; a folder of this machine.

        Raises:
            UnsupportedVolumeError: If the volume is a single slice, or too large.
            TooLargeError: If it is larger than this server takes.
            SessionClosedError: If the engine was closed.
        """
        self._server.check_open()
        check_shape(volume.name, volume.shape)
        check_size(volume, voxels=self._server.about.limits.voxels, host=self._server.transport.host)
        session = RemoteSession(self._server, volume, autosave=autosave)
        self._heart.tend(session.link)
        return session

    def embed_text(self, text: str, *, contrast: bool = False) -> Embedding:
        """See `colipri_core.engine.Engine.embed_text`."""
        return self.embed_texts([text], contrast=contrast)[0]

    def embed_texts(
        self,
        texts: Sequence[str],
        *,
        contrast: bool = False,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[Embedding, ...]:
        """See `colipri_core.engine.Engine.embed_texts`."""
        self._server.check_open()
        body = to_plain(TextsRequest(texts=tuple(texts), contrast=contrast))
        control = Control(progress=progress, cancel=cancel or CancelToken(), closed=self._server.closed)
        return embeddings_from(long_call(self._server.transport, f"{PREFIX}/texts", body, control))

    def close(self) -> None:
        """End running calls and close the connection; the server keeps the model. Closing twice does nothing."""
        self._heart.stop()
        if not self._server.closed.cancelled:
            self._server.closed.cancel()
            self._server.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _quiet(words: str) -> None:
    """Tell nobody; the log has it."""
