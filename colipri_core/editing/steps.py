"""From what a user wants to what is done: each edit as one step, given the state it meets. Nothing is changed here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from colipri_core.editing.canvas import Canvas
from colipri_core.editing.canvas import count_labels
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
from colipri_core.editing.objects import MAX_LABEL
from colipri_core.editing.objects import LabelObject
from colipri_core.editing.step import ObjectChange
from colipri_core.editing.step import Step
from colipri_core.errors import ObjectLockedError
from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts.types import Prompt
from colipri_core.segmentation import Segment

Dropped = tuple[tuple[int, tuple[Prompt, ...]], ...]


def step_of(edit: Edit, canvas: Canvas, geometry: VolumeGeometry) -> Step:
    """Return what an edit does to a canvas.

    Args:
        edit: The edit.
        canvas: The state it meets.
        geometry: The volume's grid.

    Raises:
        ObjectLockedError: If the object is locked.
        ValueError: If the object does not exist, or the voxels do not lie on the grid.
    """
    match edit:
        case Paint():
            return _paint(edit, canvas)
        case AddObject():
            return _add(edit, canvas)
        case ChangeObject():
            return _change(edit, canvas)
        case ResetObject():
            return _clear(canvas, edit.label, "reset")
        case RemoveObject():
            return _clear(canvas, edit.label, "remove")
        case Adopt():
            return _adopt(edit, canvas, geometry)


def check_unlocked(canvas: Canvas, label: int) -> None:
    """Refuse to edit a locked object.

    Raises:
        ObjectLockedError: If the object is locked.
    """
    item = canvas.objects.get(label)
    if item is not None and item.locked:
        msg = f'Expected an object that can be edited, got "{item.name}", which is locked. Unlock it first.'
        raise ObjectLockedError(msg)


def _paint(paint: Paint, canvas: Canvas) -> Step:
    crop = paint.voxels
    if any(b > size for b, size in zip(crop.upper, canvas.labelmap.shape, strict=True)):
        msg = f"Expected voxels on the grid {canvas.labelmap.shape}, got a box up to {crop.upper}."
        raise ValueError(msg)
    objects = ensured(canvas, paint.label) if paint.label else ()
    before = canvas.labelmap[crop.box]
    after = wide_enough(before, paint.label)
    policy = paint.policy if paint.label else "replace"
    after[crop.mask & changeable(before, paint.label, canvas, policy)] = paint.label
    delta = Delta.between(before, after, lower=crop.lower)
    action = "paint" if paint.label else "erase"
    return Step(action=action, label=paint.label, delta=delta, objects=objects, dropped=emptied(canvas, delta))


def _add(add: AddObject, canvas: Canvas) -> Step:
    label = add.label if add.label is not None else _free_label(canvas.objects)
    if label in canvas.objects:
        msg = f'Expected a free label, got {label}, which is "{canvas.objects[label].name}". Leave the label out.'
        raise ValueError(msg)
    fresh = LabelObject.new(label, add.name)
    item = dataclasses.replace(fresh, code=add.code, color=add.color or fresh.color)
    return Step(action="add", label=label, objects=(ObjectChange(before=None, after=item),))


def _change(change: ChangeObject, canvas: Canvas) -> Step:
    former = _existing(canvas, change.label)
    wanted = {name: value for name, value in dataclasses.asdict(change).items() if value is not None}
    changed = [name for name, value in wanted.items() if value != getattr(former, name)]
    item = dataclasses.replace(former, **wanted)
    objects = (ObjectChange(before=former, after=item),) if item != former else ()
    return Step(action=_change_name(changed, item), label=change.label, objects=objects)


def _change_name(changed: list[str], item: LabelObject) -> str:
    words = {
        "name": "rename",
        "code": "code",
        "color": "recolour",
        "locked": "lock" if item.locked else "unlock",
        "done": "mark done" if item.done else "mark open",
    }
    return ", ".join(words[name] for name in changed)


def _clear(canvas: Canvas, label: int, action: str) -> Step:
    item = _existing(canvas, label)
    check_unlocked(canvas, label)
    delta = None
    box = canvas.extent(label)
    if box is not None:
        before = canvas.labelmap[box]
        after = before.copy()
        after[before == label] = 0
        i, j, k = box
        delta = Delta.between(before, after, lower=(i.start, j.start, k.start))
    objects = (ObjectChange(before=item, after=None),) if action == "remove" else ()
    return Step(action=action, label=label, delta=delta, objects=objects, dropped=_prompts(canvas, [label]))


def _adopt(adopt: Adopt, canvas: Canvas, geometry: VolumeGeometry) -> Step:
    given = adopt.segmentation
    if given.geometry != geometry:
        msg = (
            f"Expected a segmentation on the volume's own grid {geometry.shape}, got one of {given.geometry.shape} "
            "or in another place. Bring it to the volume's grid first."
        )
        raise ValueError(msg)
    taken = dict(canvas.objects)
    lookup = np.zeros(int(given.labelmap.max(initial=0)) + 1, dtype=np.uint16)
    for segment, known in _places(given.segments, canvas.objects):
        item = known or _new_object(segment, taken)
        taken[item.label] = item
        if segment.label < len(lookup) and not item.locked:
            lookup[segment.label] = item.label
    wanted = lookup[given.labelmap]
    before = canvas.labelmap
    after = wide_enough(before, int(lookup.max()))
    allowed = (wanted > 0) & changeable(before, 0, canvas, adopt.policy)
    np.copyto(after, wanted, where=allowed, casting="unsafe")
    added = [item for label, item in taken.items() if label not in canvas.objects]
    delta = Delta.between(before, after, lower=(0, 0, 0))
    return Step(
        action="adopt",
        label=0,
        delta=delta,
        objects=tuple(ObjectChange(before=None, after=item) for item in added),
        dropped=emptied(canvas, delta),
        model=given.provenance.model if given.provenance else None,
    )


def _new_object(segment: Segment, taken: dict[int, LabelObject]) -> LabelObject:
    label = segment.label if segment.label not in taken else _free_label(taken)
    return LabelObject(label=label, name=segment.name, code=segment.code, color=segment.color)


def _places(
    segments: Iterable[Segment], objects: dict[int, LabelObject]
) -> Iterator[tuple[Segment, LabelObject | None]]:
    """Yield each segment with the object of its name that takes it, None for a new one.

    An object takes one segment of its name: of several nodules none is merged into another.
    """
    left = dict(objects)
    for segment in segments:
        named = [label for label, item in sorted(left.items()) if item.name == segment.name]
        label = segment.label if segment.label in named else next(iter(named), None)
        yield segment, left.pop(label) if label is not None else None


def changeable(labels: Labels, label: int, canvas: Canvas, policy: OverlapPolicy) -> npt.NDArray[np.bool_]:
    """Which voxels an edit may change.

    Args:
        labels: Labels of a box.
        label: The object that is edited.
        canvas: Knows which objects are locked.
        policy: What happens to voxels of other objects.
    """
    if policy == "keep":
        free: npt.NDArray[np.bool_] = (labels == 0) | (labels == label)
    else:
        free = ~np.isin(labels, canvas.locked())
    return free


def ensured(canvas: Canvas, label: int) -> tuple[ObjectChange, ...]:
    """Return what makes an object exist: nothing if it does.

    Raises:
        ObjectLockedError: If it is locked.
        ValueError: If the label cannot be used.
    """
    check_unlocked(canvas, label)
    return () if label in canvas.objects else (ObjectChange(before=None, after=LabelObject.new(label)),)


def _existing(canvas: Canvas, label: int) -> LabelObject:
    if label not in canvas.objects:
        known = ", ".join(f"{key} ({item.name})" for key, item in sorted(canvas.objects.items())) or "none"
        msg = f"Expected the label of an object, got {label}. There are: {known}."
        raise ValueError(msg)
    return canvas.objects[label]


def _free_label(taken: Iterable[int]) -> int:
    used = set(taken)
    label = next((label for label in range(1, MAX_LABEL + 1) if label not in used), None)
    if label is None:
        msg = f"Expected a free label, got {MAX_LABEL} objects, which is all a labelmap can hold. Remove one first."
        raise ValueError(msg)
    return label


def wide_enough(labels: Labels, label: int) -> Labels:
    """A copy of labels in a type that can hold another one."""
    return labels.astype(np.uint16 if label > np.iinfo(labels.dtype).max else labels.dtype)


def emptied(canvas: Canvas, delta: Delta | None) -> Dropped:
    """Return the prompts of the objects whose last voxel a change takes: they describe what is no longer there.

    Args:
        canvas: The state the change meets.
        delta: The change.
    """
    if delta is None:
        return ()
    # Few objects can lose all they have to one change, so the voxels are mostly not looked at.
    small = [n for n, prompts in canvas.prompts.items() if prompts and 0 < canvas.voxels(n) <= delta.voxels_changed]
    if not small:
        return ()
    before = canvas.labelmap[delta.box]
    left, there = count_labels(before ^ delta.folded), count_labels(before)
    return _prompts(canvas, [n for n in small if there.get(n) == canvas.voxels(n) and n not in left])


def _prompts(canvas: Canvas, labels: Iterable[int]) -> Dropped:
    return tuple((label, canvas.prompts_of(label)) for label in labels if canvas.prompts.get(label))
