"""Session: one volume opened in an engine, the same in this process and behind a URL.

Long calls take `progress` and `cancel`; a cancelled call raises `Cancelled` and leaves the session usable.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
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
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts import Prompt
from colipri_core.report import DraftOptions
from colipri_core.report import Report
from colipri_core.report import SentenceCallback
from colipri_core.report import SentenceStore
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume


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
            ModelUnavailableError: If the interactive model is missing or damaged.
            ObjectLockedError: If the object is locked.
            ValueError: If the prompt lies outside the volume, or the policy is unknown.
        """
        ...

    def edit(self, edit: Edit) -> Change:
        """Paint, erase, adopt a segmentation, or add, change, reset or remove an object.

        Raises:
            ObjectLockedError: If the object is locked.
            AutosaveError: If the edit could not be saved; nothing was changed then.
            TypeError: If it is no edit.
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
            TypeError: If the store is a path, not an open store.
            ValueError: If the region is empty or lies outside what the model looks at.
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
