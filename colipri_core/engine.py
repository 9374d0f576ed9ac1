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
from typing import Any
from typing import Protocol
from typing import Self
from typing import runtime_checkable

from colipri_core.cases import CaseFilter
from colipri_core.cases import CaseSearch
from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import RegionEmbedding
from colipri_core.cases import RegionMask
from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.errors import MissingDependencyError
from colipri_core.errors import ModelUnavailableError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts import Prompt
from colipri_core.provenance import ModelCard
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
    """

    findings: tuple[str, ...]
    free_text: bool
    structures: tuple[StructureConcept, ...]


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

    def prompt(
        self,
        prompt: Prompt,
        *,
        label: int = 1,
        policy: OverlapPolicy = "keep",
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Change:
        """Answer a point, scribble, box, lasso or phrase: the object's mask is proposed anew.

        Args:
            prompt: The prompt, in RAS+ mm.
            label: The object; made if it does not exist.
            policy: Whether voxels of other objects are kept or replaced.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Returns:
            What changed, one step of the history.

        Raises:
            Cancelled: If `cancel` was set; labels, prompts and history are then as they were.
            CapabilityError: If there is no interactive model.
            ObjectLockedError: If the object is locked.
            ValueError: If the prompt lies outside the volume.
        """
        ...

    def edit(self, edit: Edit) -> Change:
        """Paint, erase, adopt a segmentation, or add, change, reset or remove an object.

        Raises:
            ObjectLockedError: If the object is locked.
            AutosaveError: If the edit could not be saved; nothing was changed then.
            ValueError: If the object does not exist, or the voxels do not lie on the volume's grid.
        """
        ...

    def undo(self) -> Change:
        """Take the last edit back, its prompt included.

        Raises:
            EmptyHistoryError: If there is none.
        """
        ...

    def redo(self) -> Change:
        """Make the edit that was undone last once more.

        Raises:
            EmptyHistoryError: If there is none.
        """
        ...

    @property
    def editing(self) -> EditingState:
        """Objects with their sizes and prompts, and what can be undone and redone."""
        ...

    @property
    def segmentation(self) -> Segmentation:
        """A copy of the labels that are being edited, on the volume's own grid."""
        ...

    def edit_log(self) -> dict[str, Any]:
        """Return what led to the present labels as JSON values, which `replay_log` turns into the same labels."""
        ...

    def embedding(
        self,
        region: RegionMask | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Embedding:
        """Return the vector of the whole volume, or of a part of it.

        Args:
            region: A part of the volume, on its own grid; None for the whole.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            ValueError: If the region is empty or lies outside what the model looks at.
        """
        ...

    def regions(
        self, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> tuple[RegionEmbedding, ...]:
        """Return the vectors of the parts of the volume that a case store keeps.

        Args:
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
        """
        ...

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
        """Return the most similar cases of a store, nearest first; the volume itself is among them if it is stored.

        Args:
            store: Where to look; see `colipri_core.open_store`.
            k: How many cases at most.
            region: Look for this part of the volume among the parts of the cases; None compares whole volumes.
            where: Which cases to look at; None for all.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            StoreModelError: If the store was made with other weights.
            ValueError: If the region is empty or lies outside what the model looks at.
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
