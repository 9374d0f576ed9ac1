"""What every local session does with labels: prompts, edits, undo and redo, all handed to `Labelling`."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from types import TracebackType
from typing import Any
from typing import Self

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.editing.log import edit_log
from colipri_core.findings import EvidenceMap
from colipri_core.inference.labelling import Labelling
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts import Prompt
from colipri_core.prompts.attention import Attention
from colipri_core.prompts.attention import Outlined
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume


class LabelSession(ABC):
    """The labelling half of `colipri_core.engine.Session`.

    Args:
        volume: The volume.
        labelling: The labels that are edited, and the model behind prompts.
    """

    def __init__(self, volume: Volume, labelling: Labelling) -> None:
        self._volume = volume
        self._labelling = labelling

    @property
    def volume(self) -> Volume:
        """The volume that was opened."""
        return self._volume

    @abstractmethod
    def evidence(
        self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> EvidenceMap:
        """See `colipri_core.engine.Session.evidence`."""

    @abstractmethod
    def _attend(
        self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> Attention | Outlined:
        """What is seen of a phrase that is to become an object, as near to the object as the model can tell."""

    @abstractmethod
    def _software(self) -> tuple[dict[str, str], str]:
        """Versions of what computes, and the device."""

    def prompt(
        self,
        prompt: Prompt,
        *,
        label: int = 1,
        policy: OverlapPolicy = "keep",
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Change:
        """See `colipri_core.engine.Session.prompt`."""
        asked = self._labelling.editor.ask(prompt, label=label, policy=policy)
        return self._labelling.answer(asked, attend=self._attend, progress=progress, cancel=cancel)

    def edit(self, edit: Edit) -> Change:
        """See `colipri_core.engine.Session.edit`."""
        return self._labelling.editor.apply(edit)

    def undo(self) -> Change:
        """See `colipri_core.engine.Session.undo`."""
        return self._labelling.editor.undo()

    def redo(self) -> Change:
        """See `colipri_core.engine.Session.redo`."""
        return self._labelling.editor.redo()

    @property
    def editing(self) -> EditingState:
        """See `colipri_core.engine.Session.editing`."""
        return self._labelling.editor.state

    @property
    def segmentation(self) -> Segmentation:
        """See `colipri_core.engine.Session.segmentation`."""
        versions, device = self._software()
        return self._labelling.segmentation(versions=versions, device=device)

    def edit_log(self) -> dict[str, Any]:
        """See `colipri_core.engine.Session.edit_log`."""
        return edit_log(self._volume, self._labelling.editor.steps)

    def close(self) -> None:
        """Free what the session holds. Closing twice does nothing."""
        self._labelling.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
