"""A volume opened behind a URL: questions go to the server, labels and history live here as well.

The labels here are a mirror: each answer to an edit carries the box that changed and the step it became, so looking at
labels, state or log costs nothing, undo never runs out, and a lost server loses nothing that was acknowledged.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from typing import Self
from typing import TypeGuard

from colipri_core.cases import CaseFilter
from colipri_core.cases import CaseSearch
from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import RegionEmbedding
from colipri_core.cases import RegionMask
from colipri_core.cases import check_store
from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.editing.log import edit_log
from colipri_core.errors import EmptyHistoryError
from colipri_core.errors import SessionClosedError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts import Prompt
from colipri_core.provenance import Provenance
from colipri_core.remote.client.calls import Control
from colipri_core.remote.client.calls import rising
from colipri_core.remote.client.link import Link
from colipri_core.remote.client.server import Server
from colipri_core.remote.client.store import RemoteStore
from colipri_core.remote.client.transport import Body
from colipri_core.remote.protocol.editing import EditAnswer
from colipri_core.remote.protocol.editing import EditRequest
from colipri_core.remote.protocol.editing import PromptRequest
from colipri_core.remote.protocol.editing import StepRequest
from colipri_core.remote.protocol.editing import answer_from
from colipri_core.remote.protocol.editing import delta_between
from colipri_core.remote.protocol.editing import edit_parts
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import CheckRequest
from colipri_core.remote.protocol.questions import ClassifyRequest
from colipri_core.remote.protocol.questions import EmbeddingRequest
from colipri_core.remote.protocol.questions import EvidenceRequest
from colipri_core.remote.protocol.questions import GivenSentence
from colipri_core.remote.protocol.questions import ReportRequest
from colipri_core.remote.protocol.questions import SegmentRequest
from colipri_core.remote.protocol.questions import SimilarRequest
from colipri_core.remote.protocol.questions import embedding_parts
from colipri_core.remote.protocol.questions import similar_parts
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import embeddings_from
from colipri_core.remote.protocol.results import evidence_from
from colipri_core.remote.protocol.results import matches_from
from colipri_core.remote.protocol.results import regions_from
from colipri_core.remote.protocol.results import segmentation_from
from colipri_core.report import NEAREST_SENTENCES
from colipri_core.report import DraftOptions
from colipri_core.report import Report
from colipri_core.report import SentenceCallback
from colipri_core.report import SentenceStore
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

logger = logging.getLogger(__name__)

_CLOSED = "The session was closed. Open the volume again with engine.open()."


class RemoteSession:
    """Implements `colipri_core.session.Session` behind a URL. Any thread may call it; edits are made one by one.

    Nothing is sent before the first question or edit.

    Args:
        server: The server.
        volume: The volume.
        autosave: See `colipri_core.engine.Engine.open`; the journal lies on this machine.
    """

    def __init__(self, server: Server, volume: Volume, *, autosave: Path | None = None) -> None:
        self._server = server
        self._volume = volume
        self._autosave = autosave
        self._link = Link(server, volume)
        self._editor: LabelEditor | None = None
        self._closed = False
        self._doubtful = False
        self._lock = threading.Lock()
        self._edits = threading.RLock()

    @property
    def volume(self) -> Volume:
        """The volume that was opened."""
        return self._volume

    @property
    def link(self) -> Link:
        """The tie to the server."""
        return self._link

    def classify(
        self,
        findings: Sequence[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Findings:
        """See `colipri_core.session.Session.classify`."""
        body = ClassifyRequest(findings=None if findings is None else _texts(findings))
        return from_plain(Findings, self._ask("classify", to_plain(body), self._control(progress, cancel)).body)

    def evidence(
        self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> EvidenceMap:
        """See `colipri_core.session.Session.evidence`."""
        frame = self._ask("evidence", to_plain(EvidenceRequest(text=text)), self._control(progress, cancel))
        return evidence_from(frame, self._volume.geometry)

    def segment(
        self,
        structures: Sequence[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Segmentation:
        """See `colipri_core.session.Session.segment`."""
        body = SegmentRequest(structures=None if structures is None else _texts(structures))
        frame = self._ask("segment", to_plain(body), self._control(progress, cancel))
        return segmentation_from(frame, shape=self._volume.shape)

    def prompt(
        self,
        prompt: Prompt,
        *,
        label: int = 1,
        policy: OverlapPolicy = "keep",
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Change:
        """See `colipri_core.session.Session.prompt`."""

        def body() -> Body:
            return dict(to_plain(PromptRequest(prompt=prompt, label=label, policy=policy, after=self._link.revision)))

        return self._edit("prompt", body, self._control(progress, cancel, edits=True))

    def edit(self, edit: Edit) -> Change:
        """See `colipri_core.session.Session.edit`."""

        def body() -> Body:
            return _frame(edit_parts(EditRequest(edit=edit, after=self._link.revision)))

        return self._edit("edit", body, self._control(edits=True))

    def undo(self) -> Change:
        """See `colipri_core.session.Session.undo`."""
        return self._step("undo")

    def redo(self) -> Change:
        """See `colipri_core.session.Session.redo`."""
        return self._step("redo")

    @property
    def editing(self) -> EditingState:
        """See `colipri_core.session.Session.editing`."""
        return self._labels().state

    @property
    def segmentation(self) -> Segmentation:
        """See `colipri_core.session.Session.segmentation`."""
        editor, about = self._labels(), self._server.about
        provenance = None
        if editor.model is not None:
            provenance = Provenance(
                model=editor.model, preprocessing={}, versions=about.versions, device=about.device, timings={}
            )
        return Segmentation(
            labelmap=editor.labelmap,
            geometry=self._volume.geometry,
            segments=editor.segments,
            provenance=provenance,
            origins=editor.origins,
        )

    def edit_log(self) -> dict[str, Any]:
        """See `colipri_core.session.Session.edit_log`."""
        return edit_log(self._volume, self._labels().steps)

    def embedding(
        self,
        region: RegionMask | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Embedding:
        """See `colipri_core.session.Session.embedding`."""
        content = _frame(embedding_parts(EmbeddingRequest(region=region)))
        return embeddings_from(self._ask("embedding", content, self._control(progress, cancel)))[0]

    def regions(
        self, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> tuple[RegionEmbedding, ...]:
        """See `colipri_core.session.Session.regions`."""
        return regions_from(self._ask("regions", None, self._control(progress, cancel)))

    def similar(
        self,
        store: CaseSearch,
        k: int = 5,
        *,
        region: RegionMask | None = None,
        where: CaseFilter | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Match]:
        """See `colipri_core.session.Session.similar`. A store of the server's own is searched there, in one call."""
        check_store(store)
        if not self._is_at_server(store):
            query = self.embedding(region, progress=progress, cancel=cancel)
            return store.search(query, k, where=where, by_region=region is not None)
        request = SimilarRequest(store=store.name, k=k, region=region, where=where)
        return matches_from(self._ask("similar", _frame(similar_parts(request)), self._control(progress, cancel)))

    def draft_report(
        self,
        *,
        store: SentenceStore | None = None,
        on_sentence: SentenceCallback | None = None,
        options: DraftOptions | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """See `colipri_core.session.Session.draft_report`. Sentences of a store on this side are sent along."""
        given, name = None, None
        if store is not None and self._is_at_server(store):
            name = store.name
        elif store is not None and not self._server.about.capabilities.report:
            near = store.sentences(self.embedding(cancel=cancel), NEAREST_SENTENCES)
            given = tuple(GivenSentence(text=sentence.text, case=sentence.case) for sentence in near)
        body = ReportRequest(options=options or DraftOptions(), store=name, sentences=given)
        control = self._control(progress, cancel, on_sentence=on_sentence)
        return from_plain(Report, self._ask("report", to_plain(body), control).body)

    def check_sentences(
        self,
        sentences: Sequence[str],
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """See `colipri_core.session.Session.check_sentences`."""
        body = CheckRequest(sentences=_texts(sentences))
        return from_plain(Report, self._ask("check", to_plain(body), self._control(progress, cancel)).body)

    def close(self) -> None:
        """End the session here and at the server. Closing twice does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            editor, self._editor = self._editor, None
        if editor is not None:
            editor.close()
        if not self._server.closed.cancelled:
            self._link.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _labels(self) -> LabelEditor:
        with self._lock:
            if self._closed:
                raise SessionClosedError(_CLOSED)
            if self._editor is None:
                self._editor = LabelEditor(self._volume, autosave=self._autosave)
                if any(self._editor.history):
                    self._link.end()  # it was opened without them
            return self._editor

    def _control(
        self,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        *,
        on_sentence: SentenceCallback | None = None,
        edits: bool = False,
    ) -> Control:
        return Control(
            progress=rising(progress) if progress is not None else None,
            cancel=cancel or CancelToken(),
            closed=self._server.closed,
            on_sentence=on_sentence,
            edits=edits,
        )

    def _is_at_server(self, store: object) -> TypeGuard[RemoteStore]:
        return isinstance(store, RemoteStore) and store.server is self._server

    def _ask(self, route: str, body: Body, control: Control) -> Frame:
        self._check_open()
        return self._link.call(route, lambda: body, lambda: self._editor, control)

    def _step(self, route: str) -> Change:
        with self._edits:
            editor = self._labels()
            done, undone = editor.history
            if not (done if route == "undo" else undone):
                msg = f"There is no edit to {route}."
                raise EmptyHistoryError(msg)
            return self._edit(
                route, lambda: to_plain(StepRequest(after=self._link.revision)), self._control(edits=True)
            )

    def _edit(self, route: str, body: Callable[[], Body], control: Control) -> Change:
        """Have an edit made at the server, then make it here; what fails on the way is looked into by the next one."""
        with self._edits:
            self._check_open()
            editor = self._labels()
            if self._doubtful:
                self._link.verify()
            self._doubtful = True
            frame = self._link.call(route, body, self._labels, control)
            if control.cancel.cancelled:  # too late for the server: it begins anew from the labels here
                self._link.end()
                control.cancel.check()
            answer = answer_from(frame, shape=self._volume.shape)
            change = self._take(editor, route, answer)
            self._link.revision = answer.revision
            self._doubtful = False
            if editor.state.undo != answer.state.undo:
                logger.warning("The labels of %s differ at both ends; the next edit sends them anew", self._volume.name)
                self._link.end()
            return change

    def _take(self, editor: LabelEditor, route: str, answer: EditAnswer) -> Change:
        """Make here what the server made."""
        change = answer.change
        if route == "undo":
            return editor.undo()
        if route == "redo":
            return editor.redo()
        if answer.step is not None:
            before = editor.labels_in(change.lower, change.upper)
            editor.take(answer.step.step(delta_between(before, change)))
        return change

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosedError(_CLOSED)
        self._server.check_open()


def _frame(parts: Parts) -> bytes:
    return frame_bytes(Kind.REQUEST, *parts)


def _texts(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        msg = f'Expected a list of names, got the text "{names}". Pass ["{names}"].'
        raise TypeError(msg)
    return tuple(names)
