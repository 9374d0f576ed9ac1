"""The protocol of models that turn prompts into masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from typing import runtime_checkable

from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.types import Position
from colipri_core.prompts.types import Prompt
from colipri_core.provenance import ModelCard
from colipri_core.volume import Volume


@runtime_checkable
class Segmenter(Protocol):
    """A model behind prompts; called on one thread, one call after the other."""

    @property
    def card(self) -> ModelCard:
        """Identity of the model."""
        ...

    def propose(
        self,
        volume: Volume,
        prompts: Sequence[Prompt],
        *,
        previous: Crop | None,
        seen_at: Position | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Crop:
        """Return the whole mask of the object that is being edited.

        Args:
            volume: The CT; successive calls for one volume pass the same object, so it can key a cache.
            prompts: All prompts of the object since it was last empty or reset, oldest first; at least one. Their
                positions lie in the volume.
            previous: The object's mask as it stands, edits by hand included; None if it has no voxel.
            seen_at: Where the phrase among the prompts is seen, RAS+ mm; a click, if nothing positive was placed.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Returns:
            The proposed mask on the volume's own grid; not a difference, the whole object.

        Raises:
            Cancelled: If `cancel` was set.
        """
        ...
