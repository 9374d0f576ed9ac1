"""The one API of every front end: an engine holds a model, a session holds one volume opened in it.

An engine runs in this process (`colipri_core.inference.LocalEngine`) or behind a URL. Long calls take `progress` and
`cancel`; a cancelled call raises `Cancelled` and leaves the session usable. Nothing here imports torch: the local
engine is loaded when it is first opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from typing import Protocol
from typing import Self
from typing import runtime_checkable

from colipri_core.errors import MissingDependencyError
from colipri_core.errors import ModelUnavailableError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.provenance import ModelCard
from colipri_core.report import DraftOptions
from colipri_core.report import Report
from colipri_core.report import SentenceCallback
from colipri_core.report import SentenceStore
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

if TYPE_CHECKING:
    from colipri_core.vocabulary.structures import StructureConcept


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an opened model can do; a front end offers only this.

    Args:
        findings: Names of the findings it is asked about by default.
        free_text: Whether any phrase can be asked for.
        structures: Structures it can outline; empty without a structure head.
        report: Whether it was taught to write reports; without, a draft is composed from its findings.
    """

    findings: tuple[str, ...]
    free_text: bool
    structures: tuple[StructureConcept, ...]
    report: bool = False


@runtime_checkable
class Session(Protocol):
    """One volume, opened in an engine. Close it, or use it as a context manager."""

    @property
    def volume(self) -> Volume:
        """The volume that was opened."""
        ...

    def classify(
        self,
        findings: Sequence[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Findings:
        """Return the probability of each finding.

        Args:
            findings: Names of known findings or free text; None asks for the model's default list.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            ValueError: If a finding is empty text.
        """
        ...

    def evidence(
        self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> EvidenceMap:
        """Return where the model sees `text`, on the volume's own grid.

        Args:
            text: A known finding or free text.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            ValueError: If the text is empty.
        """
        ...

    def segment(
        self,
        structures: Sequence[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Segmentation:
        """Return the outlines of structures as a labelmap on the volume's own grid.

        Args:
            structures: Names; None for all the model knows.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            CapabilityError: If the model has no structure head.
            ValueError: If a name is unknown; the message lists the known ones.
        """
        ...

    def draft_report(
        self,
        *,
        store: SentenceStore | None = None,
        on_sentence: SentenceCallback | None = None,
        options: DraftOptions | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """Draft a report: written by the model's decoder where it has one, else composed from its findings.

        Args:
            store: Earlier reports; without a decoder, what is found is worded as their best-matching sentences.
            on_sentence: Receives each sentence once it is written and checked, on the model's thread.
            options: How; None for the defaults.
            progress: Receives (fraction, message).
            cancel: Cancels the call, also in the middle of a sentence.

        Raises:
            Cancelled: If `cancel` was set; the sentences handed over so far are lost.
        """
        ...

    def check_sentences(
        self,
        sentences: Sequence[str],
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """Return given sentences, such as a reader's own, as a draft with the model's second opinion on each.

        Args:
            sentences: The sentences; each is brought to normal form (a capital, a full stop).
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            ValueError: If a sentence has no words.
        """
        ...

    def close(self) -> None:
        """Free what the session holds. Closing twice does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Engine(Protocol):
    """A loaded model that opens volumes. Close it, or use it as a context manager."""

    @property
    def card(self) -> ModelCard:
        """Identity of the model, to be shown beside every number."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        ...

    @property
    def device(self) -> str:
        """Device the model runs on, such as "cpu"."""
        ...

    def open(self, volume: Volume) -> Session:
        """Open a volume; nothing heavy happens before the first call of the session.

        Raises:
            UnsupportedVolumeError: If the model cannot process the volume correctly.
        """
        ...

    def close(self) -> None:
        """Stop the worker and free the model. Closing twice does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def open_engine(
    model: str | Path = "tiny",
    *,
    device: str = "auto",
    cache_dir: Path | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Engine:
    """Load a model and return an engine, warmed up and ready.

    Args:
        model: Name of a shipped bundle, a bundle folder, or a hub id such as "microsoft/colipri".
        device: "auto" (a GPU when there is one), "cpu", "cuda", "cuda:1" or "mps".
        cache_dir: Where encoded features are kept; None for the user's cache folder.
        progress: Receives (fraction, message) of download, loading and warm-up.
        cancel: Cancels opening.

    Raises:
        ModelUnavailableError: If the model cannot be found, fetched or verified.
        MissingDependencyError: If torch is not installed.
        ValueError: If the device is not one torch knows on this machine.
    """
    if str(model).startswith(("http://", "https://")):
        msg = (
            f"Expected the name of a shipped model, a folder or a hub id, got the URL {model}. "
            "This version runs models in its own process only; pass a folder or a name instead."
        )
        raise ModelUnavailableError(msg)
    try:
        from colipri_core.inference.local import LocalEngine
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in {
            "torch",
            "transformers",
            "monai",
            "safetensors",
        }:
            raise
        msg = (
            f"Running a model in this process needs the package {error.name}, which is not installed. "
            'Install it with: pip install "napari-colipri[local]"'
        )
        raise MissingDependencyError(msg) from error
    return LocalEngine.load(model, device=device, cache_dir=cache_dir, progress=progress, cancel=cancel)
