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
from typing import Protocol
from typing import Self
from typing import runtime_checkable

from colipri_core.cases import Embedding
from colipri_core.errors import MissingDependencyError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.provenance import ModelCard
from colipri_core.session import Session
from colipri_core.vocabulary.structures import StructureConcept
from colipri_core.volume import Volume

SHIPPED_CLICKS = "clicks"
"""Name of the shipped model that answers prompts."""


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

    @property
    def versions(self) -> dict[str, str]:
        """Package name -> version of what runs the model, as in the provenance of results."""
        ...

    def embed_text(self, text: str, *, contrast: bool = False) -> Embedding:
        """Return the vector of a text; see `embed_texts`."""
        ...

    def embed_texts(
        self,
        texts: Sequence[str],
        *,
        contrast: bool = False,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[Embedding, ...]:
        """Return the vectors of texts in the space of the images.

        Args:
            texts: Phrases or sentences.
            contrast: Return the direction from a finding's absence to its presence, as `classify` compares them,
                instead of the text as it stands: the better question for searching images by a phrase.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            ValueError: If a text is empty.
        """
        ...

    def open(self, volume: Volume, *, autosave: Path | None = None) -> Session:
        """Open a volume; nothing heavy happens before the first call of the session.

        Args:
            volume: The CT.
            autosave: Folder in which edits are saved as they are made; those of an earlier session on the same volume
                are taken up. None saves nothing.

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


def is_server(model: str | Path) -> bool:
    """Whether a model is named by the URL of a server."""
    return str(model).startswith(("http://", "https://"))


def open_engine(
    model: str | Path = "tiny",
    *,
    device: str = "auto",
    cache_dir: Path | None = None,
    clicks_model: str | Path = SHIPPED_CLICKS,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Engine:
    """Load a model and return an engine, warmed up and ready.

    Args:
        model: Name of a shipped bundle, a bundle folder, a hub id such as "microsoft/colipri", or the URL of a
            `colipri serve`, whose token is read from COLIPRI_SERVER_TOKEN. The folder of a MONAI bundle (Model Zoo
            format) opens as a model that outlines structures and nothing else.
        device: "auto" (a GPU when there is one), "cpu", "cuda", "cuda:1" or "mps"; a server has chosen its own.
        cache_dir: Where encoded features are kept; None for the user's cache folder. A server has its own.
        clicks_model: What answers prompts: name of a shipped bundle of kind "clicks", the folder of one, or
            "nninteractive" (`nninteractive:FOLDER` with a checkpoint's folder) if that package is installed. A server
            has its own.
        progress: Receives (fraction, message) of download, loading and warm-up.
        cancel: Cancels opening.

    Raises:
        ModelUnavailableError: If the model cannot be found, fetched, verified or reached.
        MissingDependencyError: If torch is not installed.
        ValueError: If the device is not one torch knows on this machine, or a device or a model for prompts is asked of
            a server.
    """
    if is_server(model):
        return _open_remote(str(model), device=device, clicks_model=str(clicks_model))
    try:
        from colipri_core.inference.opening import load_engine
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
    return load_engine(
        model, device=device, cache_dir=cache_dir, clicks_model=clicks_model, progress=progress, cancel=cancel
    )


def _open_remote(url: str, *, device: str, clicks_model: str) -> Engine:
    from colipri_core.remote.client import RemoteEngine

    if device != "auto":
        msg = f'Expected no device for the server {url}, which has chosen its own, got "{device}". Leave it out.'
        raise ValueError(msg)
    if clicks_model != SHIPPED_CLICKS:
        msg = (
            f'Expected no model for prompts with the server {url}, which has its own, got "{clicks_model}". Leave it '
            "out here, or start the server with it: colipri serve --clicks-model."
        )
        raise ValueError(msg)
    return RemoteEngine(url)
