"""One entry of the history: everything an edit did, so that it can be undone, redone, stored and replayed."""

from __future__ import annotations

import dataclasses
from typing import Any
from typing import Self

from colipri_core.editing.delta import Delta
from colipri_core.editing.objects import LabelObject
from colipri_core.prompts.types import Prompt
from colipri_core.prompts.types import prompt_from_json
from colipri_core.provenance import ModelCard


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectChange:
    """An object before and after a step; None where it does not exist."""

    before: LabelObject | None
    after: LabelObject | None

    def reversed(self) -> ObjectChange:
        """The way back."""
        return ObjectChange(before=self.after, after=self.before)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What an edit did.

    Args:
        action: Name of what was done.
        label: The object it was done to; 0 if several.
        delta: Changed voxels, None if none changed.
        objects: Objects that were added, changed or removed.
        prompt: The prompt that joined those of the object.
        dropped: Prompts that left, by object.
        model: The model that proposed the voxels; None for work by hand.
    """

    action: str
    label: int
    delta: Delta | None = None
    objects: tuple[ObjectChange, ...] = ()
    prompt: Prompt | None = None
    dropped: tuple[tuple[int, tuple[Prompt, ...]], ...] = ()
    model: ModelCard | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the packed labels of the delta."""
        return {
            "action": self.action,
            "label": self.label,
            "delta": self.delta.to_json() if self.delta else None,
            "objects": [[item and item.to_json() for item in (c.before, c.after)] for c in self.objects],
            "prompt": self.prompt.to_json() if self.prompt else None,
            "dropped": [[label, [prompt.to_json() for prompt in prompts]] for label, prompts in self.dropped],
            "model": dataclasses.asdict(self.model) if self.model else None,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any], packed: bytes) -> Self:
        """Make a step of what `to_json` returned and the packed labels.

        Raises:
            KeyError: If a key is missing.
            TypeError: If a value has the wrong type.
            ValueError: If a value cannot be used.
        """
        objects = [[LabelObject.from_json(item) if item else None for item in pair] for pair in document["objects"]]
        return cls(
            action=str(document["action"]),
            label=int(document["label"]),
            delta=Delta.from_json(document["delta"], packed) if document["delta"] else None,
            objects=tuple(ObjectChange(before=before, after=after) for before, after in objects),
            prompt=prompt_from_json(document["prompt"]) if document["prompt"] else None,
            dropped=tuple(
                (int(label), tuple(prompt_from_json(prompt) for prompt in prompts))
                for label, prompts in document["dropped"]
            ),
            model=ModelCard(**document["model"]) if document["model"] else None,
        )
