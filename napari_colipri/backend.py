"""The engine and its session as the plugin holds them: made, used and closed on the worker thread alone."""

from __future__ import annotations

import dataclasses
import logging
import os
import weakref
from collections.abc import Callable
from pathlib import Path

import platformdirs

from colipri_core.cases import Embedding
from colipri_core.cases import RegionMask
from colipri_core.engine import Capabilities
from colipri_core.engine import Engine
from colipri_core.engine import is_server
from colipri_core.engine import open_engine
from colipri_core.errors import Cancelled
from colipri_core.errors import InputError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.project import LabelProject
from colipri_core.provenance import ModelCard
from colipri_core.ranking import rank_cases
from colipri_core.remote.client import RemoteEngine
from colipri_core.remote.stores import Archive
from colipri_core.remote.stores import offered_stores
from colipri_core.remote.stores import read_match
from colipri_core.remote.stores import store_for
from colipri_core.report import Report
from colipri_core.report import SentenceCallback
from colipri_core.segmentation import Segmentation
from colipri_core.session import Session
from colipri_core.volume import Volume

logger = logging.getLogger(__name__)

_LOADING_SHARE = 0.3
"""Share of the progress bar for loading a model that is not loaded yet (our choice)."""


def edits_folder() -> Path:
    """Where edits are saved as they are made: COLIPRI_EDITS_DIR, or the user's data folder."""
    chosen = os.environ.get("COLIPRI_EDITS_DIR", "")
    return Path(chosen) if chosen else platformdirs.user_data_path("colipri") / "edits"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model to run, and where.

    Args:
        model: Shipped bundle's name, bundle folder, hub id or URL of a server.
        device: "auto", "cpu", "cuda" or "mps".
        token: Token of the server.
    """

    model: str = "tiny"
    device: str = "auto"
    token: str = dataclasses.field(default="", repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether the model runs at a server."""
        return is_server(self.model)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is shown of a loaded model.

    Args:
        card: Its identity.
        capabilities: What it can do.
        device: Device it runs on.
        stores: Names of the case stores that its server offers.
    """

    card: ModelCard
    capabilities: Capabilities
    device: str
    stores: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The model and the volume a call is about; the backend opens what is not open yet.

    Args:
        choice: The model.
        volume: The CT.
        edits: Where edits are saved as they are made; None for the backend's folder.
        any_model: Whether the model is asked nothing, so that whichever is loaded serves.
    """

    choice: ModelChoice
    volume: Volume
    edits: Path | None = None
    any_model: bool = False


class Backend:
    """One loaded model and one open volume, reused while calls ask for the same ones.

    Args:
        opener: Opens an engine, with the signature of `colipri_core.open_engine`, which it is by default.

    Attributes:
        edits_folder: Where edits are saved as they are made, unless a request says another place.
        info: The loaded model, None while there is none.
        clicks_model: What answers prompts from the next call on: "clicks", a bundle's folder, or "nninteractive".
        notify: Told in words, from any thread, of lost and new connections to a server.
    """

    def __init__(self, opener: Callable[..., Engine] | None = None) -> None:
        self.edits_folder = edits_folder()
        self.clicks_model = self._clicks_model = "clicks"
        self.notify: Callable[[str], None] = logger.info
        self._opener = opener or open_engine
        self._choice: ModelChoice | None = None  # of the engine, or of the latest one while there is none
        self._engine: Engine | None = None
        self._session: Session | None = None
        self._volume: Volume | None = None
        self._asked: tuple[Volume, CancelToken | None] | None = None
        self._abandoned: weakref.WeakSet[Volume] = weakref.WeakSet()
        self.info: ModelInfo | None = None

    def load(
        self, choice: ModelChoice, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> ModelInfo:
        """Load a model unless it is the one already loaded.

        Args:
            choice: The model.
            progress: Receives (fraction, message).
            cancel: Cancels loading.
        """
        engine, clicks_model = self._engine, self.clicks_model
        if engine is None or not self._has(choice):
            self.close()
            if choice.is_remote:
                engine = RemoteEngine(choice.model, token=choice.token, notify=self._tell)
            else:
                engine = self._opener(
                    choice.model, device=choice.device, clicks_model=clicks_model, progress=progress, cancel=cancel
                )
            self._engine, self._choice, self._clicks_model = engine, choice, clicks_model
        self.info = _info_of(engine)
        return self.info

    def analyse(
        self, request: Request, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> tuple[ModelInfo, Findings | None]:
        """Return the loaded model and what it finds by default; None of a model that is asked nothing in words.

        Args:
            request: Model and volume.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self.open(request, Reporter(progress, cancel), cancel)
        if not info.capabilities.findings:
            return info, None
        return info, session.classify(progress=rest, cancel=cancel)

    def classify(
        self,
        request: Request,
        findings: tuple[str, ...],
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ModelInfo, Findings]:
        """Return the loaded model and the findings of the volume.

        Args:
            request: Model and volume.
            findings: Names or free text.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self.open(request, Reporter(progress, cancel), cancel)
        return info, session.classify(findings, progress=rest, cancel=cancel)

    def evidence(
        self,
        request: Request,
        text: str,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ModelInfo, EvidenceMap]:
        """Return the loaded model and where it sees `text` in the volume.

        Args:
            request: Model and volume.
            text: A finding or free text.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self.open(request, Reporter(progress, cancel), cancel)
        return info, session.evidence(text, progress=rest, cancel=cancel)

    def segment(
        self, request: Request, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> tuple[ModelInfo, Segmentation]:
        """Return the loaded model and the outlined structures of the volume.

        Args:
            request: Model and volume.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self.open(request, Reporter(progress, cancel), cancel)
        return info, session.segment(progress=rest, cancel=cancel)

    def embed(
        self,
        request: Request,
        region: RegionMask | None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ModelInfo, Embedding]:
        """Return the loaded model and the vector of the volume, or of a part of it.

        Args:
            request: Model and volume.
            region: The part, None for the whole.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self.open(request, Reporter(progress, cancel), cancel)
        return info, session.embedding(region, progress=rest, cancel=cancel)

    def store(self, choice: ModelChoice, address: str) -> Archive:
        """Return the case store that a model searches.

        Args:
            choice: The model.
            address: Folder or URL of a store, or the name of one of the server's.
        """
        self.load(choice)
        assert self._engine is not None
        return store_for(self._engine, address)

    def read_match(
        self, choice: ModelChoice, address: str, path: str, progress: ProgressCallback, cancel: CancelToken
    ) -> Volume:
        """Read the scan of a match, here or at the server whose store it is in.

        Args:
            choice: The model that searched.
            address: The store, as for `store`.
            path: Path of the match.
            progress: Receives (fraction, message).
            cancel: Cancels fetching.
        """
        self.load(choice)
        assert self._engine is not None
        return read_match(self._engine, address, path, progress=progress, cancel=cancel)

    def embed_phrase(
        self,
        choice: ModelChoice,
        phrase: str,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ModelInfo, Embedding]:
        """Return the loaded model and the vector to search images with for a phrase.

        Args:
            choice: The model.
            phrase: A finding or any other phrase.
            progress: Receives (fraction, message).
            cancel: Cancels loading the model.
        """
        info = self.load(choice, progress, cancel)
        assert self._engine is not None
        return info, self._engine.embed_text(phrase, contrast=True)

    def draft_report(
        self,
        request: Request,
        on_sentence: SentenceCallback,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ModelInfo, Report]:
        """Return the loaded model and a draft report of the volume.

        Args:
            request: Model and volume.
            on_sentence: Receives each sentence once it is written, on a worker thread.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self.open(request, Reporter(progress, cancel), cancel)
        return info, session.draft_report(on_sentence=on_sentence, progress=rest, cancel=cancel)

    def rank(
        self,
        choice: ModelChoice,
        project: LabelProject,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ModelInfo, dict[str, InputError]]:
        """Return the loaded model and the cases it could not read; how unsure it is of the others is in the project.

        Args:
            choice: The model.
            project: The project.
            progress: Receives (fraction, message).
            cancel: Cancels the ranking; what is ranked stays.
        """
        reporter = Reporter(progress, cancel)
        info = self.load(choice, reporter.part(0.0, _LOADING_SHARE), cancel)
        assert self._engine is not None
        rest = reporter.part(_LOADING_SHARE, 1.0)
        return info, rank_cases(project, self._engine, progress=rest, cancel=cancel)

    def abandon(self, volume: Volume) -> None:
        """Stop what a model is asked about a volume, now and later; edits that wait are still made. From any thread.

        Args:
            volume: The volume.
        """
        self._abandoned.add(volume)
        asked, cancel = self._asked or (None, None)
        if asked is volume and cancel is not None:
            cancel.cancel()

    def close_volume(self, volume: Volume | None = None) -> None:
        """Free the open volume; the model stays loaded.

        Args:
            volume: Only if it is this one; None for any.
        """
        if volume is None or self._volume is volume:
            session, self._session, self._volume = self._session, None, None
            if session is not None:
                session.close()

    def close(self) -> None:
        """Free volume and model."""
        self.close_volume()
        engine, self._engine, self.info = self._engine, None, None
        if engine is not None:
            engine.close()

    def _tell(self, words: str) -> None:
        """Pass a notice on to whoever listens by then."""
        self.notify(words)

    def open(
        self, request: Request, reporter: Reporter, cancel: CancelToken | None
    ) -> tuple[ModelInfo, Session, Reporter]:
        """Open what a request needs, if it is not open; edits of an earlier session on the volume are taken up.

        Args:
            request: Model and volume.
            reporter: Told of loading.
            cancel: Cancels loading.

        Returns:
            The loaded model, the session, and the reporter for what is done with it.

        Raises:
            Cancelled: If a model is to be asked about a volume that was abandoned.
        """
        self._asked = None if request.any_model else (request.volume, cancel)
        if self._asked is not None and request.volume in self._abandoned:
            msg = "The scan is no longer there. Nothing was asked."
            raise Cancelled(msg)
        if request.any_model and self._engine is not None:
            share, info = 0.0, _info_of(self._engine)
        else:
            choice = (request.any_model and self._choice) or request.choice
            share = 0.0 if self._has(choice) else _LOADING_SHARE
            info = self.load(choice, reporter.part(0.0, share), cancel)
        session = self._session
        if session is None or self._volume is not request.volume:
            self.close_volume()
            assert self._engine is not None
            edits = request.edits or self.edits_folder
            session, self._volume = self._engine.open(request.volume, autosave=edits), request.volume
            self._session = session
        return info, session, reporter.part(share, 1.0)

    def _has(self, choice: ModelChoice) -> bool:
        """Whether a model is loaded, with the model for prompts that is wanted now."""
        return self._engine is not None and (self._choice, self._clicks_model) == (choice, self.clicks_model)


def _info_of(engine: Engine) -> ModelInfo:
    stores = tuple(offered_stores(engine))
    return ModelInfo(card=engine.card, capabilities=engine.capabilities, device=engine.device, stores=stores)
