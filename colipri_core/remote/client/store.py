"""A case store of the server, searched over the wire: a front end needs no database."""

from __future__ import annotations

from colipri_core.cases import CaseFilter
from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import SentenceMatch
from colipri_core.remote.client.calls import Control
from colipri_core.remote.client.calls import long_call
from colipri_core.remote.client.server import Server
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.questions import SearchRequest
from colipri_core.remote.protocol.questions import SentencesAnswer
from colipri_core.remote.protocol.questions import search_parts
from colipri_core.remote.protocol.results import matches_from
from colipri_core.remote.protocol.version import PREFIX


class RemoteStore:
    """Implements `CaseSearch` and `SentenceStore`; made by `RemoteEngine.store`.

    Args:
        server: The server.
        name: Name of the store there.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name

    def search(
        self, query: Embedding, k: int = 5, *, where: CaseFilter | None = None, by_region: bool = False
    ) -> list[Match]:
        """See `colipri_core.cases.CaseSearch.search`."""
        return matches_from(self._ask(SearchRequest(query=query, k=k, where=where, by_region=by_region)))

    def sentences(self, query: Embedding, k: int) -> list[SentenceMatch]:
        """See `colipri_core.report.SentenceStore.sentences`."""
        frame = self._ask(SearchRequest(query=query, k=k, sentences=True))
        return list(from_plain(SentencesAnswer, frame.body).sentences)

    def _ask(self, request: SearchRequest) -> Frame:
        self.server.check_open()
        content = frame_bytes(Kind.REQUEST, *search_parts(request))
        control = Control(closed=self.server.closed)
        return long_call(self.server.transport, f"{PREFIX}/stores/{self.name}/search", content, control)
