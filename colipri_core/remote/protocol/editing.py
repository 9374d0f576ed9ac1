"""Edits on the wire: what is asked, what is answered, and the rule that makes nothing happen twice.

The *revision* counts the edits, undos and redos a session has made; an edit that changed nothing leaves it as it is.
A request says which revision it follows (`after`). If the server stands elsewhere it changes nothing and answers
"out-of-step" with its own revision; if the call of the same name (header `Colipri-Job`) was the last one it made, it
answers with what it answered then. A client that stands one behind knows that its own lost call was made, and asks for
the labels. So a call can always be repeated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.delta import Delta
from colipri_core.editing.delta import Labels
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.editing.edits import check_edit
from colipri_core.editing.edits import check_policy
from colipri_core.editing.step import ObjectChange
from colipri_core.editing.step import Step
from colipri_core.errors import ProtocolError
from colipri_core.prompts import Crop
from colipri_core.prompts import Prompt
from colipri_core.prompts.crop import Index
from colipri_core.provenance import ModelCard
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.results import LABEL_TYPES
from colipri_core.remote.protocol.results import Parts
from colipri_core.remote.protocol.results import segmentation_from
from colipri_core.remote.protocol.results import segmentation_parts


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptRequest:
    """Body of `POST .../prompt`, as JSON.

    Args:
        prompt: The prompt.
        after: The revision it follows.
        label: The object.
        policy: What happens to voxels of other objects.

    Raises:
        ValueError: If the policy is unknown.
    """

    prompt: Prompt
    after: int
    label: int = 1
    policy: OverlapPolicy = "keep"

    def __post_init__(self) -> None:
        check_policy(self.policy)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepRequest:
    """Body of `POST .../undo` and `.../redo`, as JSON.

    Args:
        after: The revision it follows.
    """

    after: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EditRequest:
    """Body of `POST .../edit`, a frame of kind REQUEST.

    Args:
        edit: The edit.
        after: The revision it follows.
    """

    edit: Edit
    after: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EditAnswer:
    """Answer to a prompt, edit, undo or redo.

    Args:
        change: What changed, with the labels of the box.
        state: How the editor stands.
        revision: Number of edits, undos and redos made.
        step: The step as it stands in the history, without its voxels, which follow from the labels of the box; None
            for an undo, a redo, and an edit that changed nothing.
    """

    change: Change
    state: EditingState
    revision: int
    step: StepHeader | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepHeader:
    """A step of the history without its voxels; see `colipri_core.editing.step.Step`."""

    action: str
    label: int
    lower: Index
    changed: bool
    objects: tuple[ObjectChange, ...] = ()
    prompt: Prompt | None = None
    dropped: tuple[tuple[int, tuple[Prompt, ...]], ...] = ()
    model: ModelCard | None = None

    @classmethod
    def of(cls, step: Step) -> StepHeader:
        """Describe a step."""
        return cls(
            action=step.action,
            label=step.label,
            lower=step.delta.lower if step.delta else (0, 0, 0),
            changed=step.delta is not None,
            objects=step.objects,
            prompt=step.prompt,
            dropped=step.dropped,
            model=step.model,
        )

    def step(self, delta: Delta | None) -> Step:
        """Return the step with the voxels it changed.

        Raises:
            ProtocolError: If it says it changed voxels and none are given, or the other way round.
        """
        if self.changed != (delta is not None):
            msg = f"Expected a step that {'changes' if self.changed else 'leaves'} voxels, found one that does not."
            raise ProtocolError(msg)
        shared = {
            "objects": self.objects,
            "prompt": self.prompt,
            "dropped": self.dropped,
            "model": self.model,
        }
        return Step(action=self.action, label=self.label, delta=delta, **shared)  # type: ignore[arg-type]


_EDITS: dict[str, type[Edit]] = {
    "paint": Paint,
    "add": AddObject,
    "change": ChangeObject,
    "reset": ResetObject,
    "remove": RemoveObject,
    "adopt": Adopt,
}


def edit_parts(request: EditRequest) -> Parts:
    """Body and arrays of an edit."""
    edit = request.edit
    check_edit(edit)
    name = next(name for name, kind in _EDITS.items() if isinstance(edit, kind))
    arrays = {}
    if isinstance(edit, Paint):
        plain = to_plain(_Paint(label=edit.label, policy=edit.policy, lower=edit.voxels.lower))
        arrays["mask"] = edit.voxels.mask
    elif isinstance(edit, Adopt):
        described, arrays = segmentation_parts(edit.segmentation)
        shape = list(edit.segmentation.geometry.shape)
        plain = {"policy": edit.policy, "shape": shape, "segmentation": described}
    else:
        plain = to_plain(edit)
    return {"edit": name, "after": request.after, "values": plain}, arrays


def edit_from(frame: Frame, *, shape: Index) -> EditRequest:
    """Make an edit of a frame.

    Args:
        frame: What came.
        shape: Shape of the session's volume.

    Raises:
        ProtocolError: If it is something else.
        ValueError: If its voxels cannot lie on the volume's grid.
    """
    body = from_plain(_Edit, frame.body)
    if body.edit == "paint":
        edit: Edit = _paint_from(frame, body.values, shape)
    elif body.edit == "adopt":
        edit = _adopt_from(frame, body.values, shape)
    elif body.edit in _EDITS:
        edit = from_plain(_EDITS[body.edit], body.values)
    else:
        msg = f'Expected one of the edits {", ".join(_EDITS)}, found "{body.edit[:40]}".'
        raise ProtocolError(msg)
    return EditRequest(edit=edit, after=body.after)


def answer_parts(answer: EditAnswer) -> Parts:
    """Body and arrays of an answer to an edit."""
    body = {
        "change": answer.change.to_json(),
        "state": to_plain(answer.state),
        "revision": answer.revision,
        "step": to_plain(answer.step),
    }
    return body, {"labels": answer.change.labels}


def answer_from(frame: Frame, *, shape: Index) -> EditAnswer:
    """Make an answer to an edit of a frame.

    Args:
        frame: What came.
        shape: Shape of the session's volume.

    Raises:
        ProtocolError: If it is something else.
    """
    body = from_plain(_Answer, frame.body)
    described = body.change
    if not _fits(described.lower, described.upper, shape):
        msg = f"Expected a box on a grid of {shape}, found {described.lower} to {described.upper}."
        raise ProtocolError(msg)
    i, j, k = (b - a for a, b in zip(described.lower, described.upper, strict=True))
    labels = frame.array("labels", dtypes=LABEL_TYPES, shape=(i, j, k))
    fields: dict[str, Any] = {field.name: getattr(described, field.name) for field in dataclasses.fields(_Change)}
    change = Change(**fields, labels=labels)
    return EditAnswer(change=change, state=body.state, revision=body.revision, step=body.step)


def step_parts(step: Step) -> Parts:
    """Body and arrays of a step of a history, with its voxels as `before XOR after`."""
    folded: Labels = step.delta.folded if step.delta else np.zeros((0, 0, 0), dtype=np.uint8)
    return to_plain(StepHeader.of(step)), {"folded": folded}


def step_from(frame: Frame, *, shape: Index) -> Step:
    """Make a step of a history of a frame.

    Args:
        frame: What came.
        shape: Shape of the session's volume.

    Raises:
        ProtocolError: If it is something else.
    """
    header = from_plain(StepHeader, frame.body)
    if not header.changed:
        return header.step(None)
    described = frame.packed.get("folded")
    size = described[0].shape if described else ()
    upper = tuple(a + b for a, b in zip(header.lower, size, strict=False))
    if len(size) != 3 or not _fits(header.lower, upper, shape):
        msg = f"Expected a box on a grid of {shape}, found one of {size} at {header.lower}."
        raise ProtocolError(msg)
    folded = frame.array("folded", dtypes=LABEL_TYPES, shape=size)
    return header.step(Delta.of_folded(folded, lower=header.lower))


def delta_between(before: Labels, change: Change) -> Delta | None:
    """Return what an answer changed, as the history keeps it.

    Args:
        before: The labels of the box of `change`, as they were.
        change: What came.
    """
    wide = max(before.dtype, change.labels.dtype)
    return Delta.between(before.astype(wide), change.labels.astype(wide), lower=change.lower)


def steps_to(done: Sequence[Step], undone: Sequence[Step]) -> list[tuple[str, Step | None]]:
    """Return what makes a history anew, as the events of a journal: "do", "undo".

    Args:
        done: Steps that can be undone, oldest first.
        undone: Steps that can be redone, the next one last.
    """
    forth: list[tuple[str, Step | None]] = [("do", step) for step in (*done, *reversed(undone))]
    return forth + [("undo", None)] * len(undone)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Paint:
    label: int
    lower: Index
    policy: OverlapPolicy = "replace"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Adopt:
    segmentation: dict[str, Any]
    shape: Index
    policy: OverlapPolicy = "keep"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Edit:
    edit: str
    after: int
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Change:
    label: int
    action: str
    lower: Index
    upper: Index
    voxels_changed: int
    objects_changed: bool
    voxels_kept: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Answer:
    change: _Change
    state: EditingState
    revision: int
    step: StepHeader | None = None


def _paint_from(frame: Frame, values: dict[str, Any], shape: Index) -> Paint:
    described = from_plain(_Paint, values)
    header = frame.packed.get("mask")
    size = header[0].shape if header else ()
    if len(size) == 3 and min(described.lower) >= 0:
        upper = tuple(a + b for a, b in zip(described.lower, size, strict=True))
        if any(b > limit for b, limit in zip(upper, shape, strict=True)):
            msg = f"Expected voxels on the grid {shape}, got a box up to {upper}."
            raise ValueError(msg)
    mask = frame.array("mask", dtypes=("bool",), shape=(None, None, None))
    try:
        crop = Crop(lower=described.lower, mask=mask)
    except ValueError as error:
        raise ProtocolError(str(error)) from error
    return Paint(voxels=crop, label=described.label, policy=described.policy)


def _adopt_from(frame: Frame, values: dict[str, Any], shape: Index) -> Adopt:
    described = from_plain(_Adopt, values)
    if described.shape != shape:
        msg = (
            f"Expected a segmentation on the volume's own grid {shape}, got one of {described.shape} "
            "or in another place. Bring it to the volume's grid first."
        )
        raise ValueError(msg)
    segmentation = segmentation_from(frame, shape=shape, body=described.segmentation)
    return Adopt(segmentation=segmentation, policy=described.policy)


def _fits(lower: Sequence[int], upper: Sequence[int], shape: Index) -> bool:
    return all(0 <= a <= b <= size for a, b, size in zip(lower, upper, shape, strict=True))
