"""The engine and its session as the plugin holds them: made, used and closed on the worker thread alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from colipri_core.engine import Capabilities
from colipri_core.engine import Engine
from colipri_core.engine import Session
from colipri_core.engine import open_engine
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard
from colipri_core.report import Report
from colipri_core.report import SentenceCallback
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

_LOADING_SHARE = 0.3
"""Share of the progress bar for loading a model that is not loaded yet (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model to run, and where.

    Args:
        model: Shipped bundle's name, bundle folder or hub id.
        device: "auto", "cpu", "cuda" or "mps".
    """

    model: str = "tiny"
    device: str = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is shown of a loaded model.

    Args:
        card: Its identity.
        capabilities: What it can do.
        device: Device it runs on.
    """

    card: ModelCard
    capabilities: Capabilities
    device: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The model and the volume a call is about; the backend opens what is not open yet.

    Args:
        choice: The model.
        volume: The CT.
    """

    choice: ModelChoice
    volume: Volume


class Backend:
    """One loaded model and one open volume, reused while calls ask for the same ones.

    Args:
        opener: Opens an engine, with the signature of `colipri_core.open_engine`, which it is by default.
    """

    def __init__(self, opener: Callable[..., Engine] | None = None) -> None:
        self._opener = opener or open_engine
        self._choice: ModelChoice | None = None
        self._engine: Engine | None = None
        self._session: Session | None = None
        self._volume: Volume | None = None

    def load(
        self, choice: ModelChoice, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> ModelInfo:
        """Load a model unless it is the one already loaded.

        Args:
            choice: The model.
            progress: Receives (fraction, message).
            cancel: Cancels loading.
        """
        engine = self._engine
        if engine is None or choice != self._choice:
            self.close()
            engine = self._opener(choice.model, device=choice.device, progress=progress, cancel=cancel)
            self._engine, self._choice = engine, choice
        return ModelInfo(card=engine.card, capabilities=engine.capabilities, device=engine.device)

    def classify(
        self,
        request: Request,
        findings: tuple[str, ...] | None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ModelInfo, Findings]:
        """Return the loaded model and the findings of the volume.

        Args:
            request: Model and volume.
            findings: Names or free text; None for the model's default list.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self._open(request, Reporter(progress, cancel), cancel)
        return info, session.classify(findings, progress=rest, cancel=cancel)

    def evidence(
        self,
        request: Request,
        text: str,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> EvidenceMap:
        """Return where the model sees `text` in the volume.

        Args:
            request: Model and volume.
            text: A finding or free text.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        _, session, rest = self._open(request, Reporter(progress, cancel), cancel)
        return session.evidence(text, progress=rest, cancel=cancel)

    def segment(
        self, request: Request, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> tuple[ModelInfo, Segmentation]:
        """Return the loaded model and the outlined structures of the volume.

        Args:
            request: Model and volume.
            progress: Receives (fraction, message).
            cancel: Cancels the call.
        """
        info, session, rest = self._open(request, Reporter(progress, cancel), cancel)
        return info, session.segment(progress=rest, cancel=cancel)

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
        info, session, rest = self._open(request, Reporter(progress, cancel), cancel)
        return info, session.draft_report(on_sentence=on_sentence, progress=rest, cancel=cancel)

    def close_volume(self) -> None:
        """Free the open volume; the model stays loaded."""
        session, self._session, self._volume = self._session, None, None
        if session is not None:
            session.close()

    def close(self) -> None:
        """Free volume and model."""
        self.close_volume()
        engine, self._engine, self._choice = self._engine, None, None
        if engine is not None:
            engine.close()

    def _open(
        self, request: Request, reporter: Reporter, cancel: CancelToken | None
    ) -> tuple[ModelInfo, Session, Reporter]:
        share = 0.0 if self._engine is not None and request.choice == self._choice else _LOADING_SHARE
        info = self.load(request.choice, reporter.part(0.0, share), cancel)
        session = self._session
        if session is None or self._volume is not request.volume:
            self.close_volume()
            assert self._engine is not None
            session, self._volume = self._engine.open(request.volume), request.volume
            self._session = session
        return info, session, reporter.part(share, 1.0)
